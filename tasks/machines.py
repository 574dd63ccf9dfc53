"""The machines that do the work of a call: devices here, or a server."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.serving import client
    from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices to use: all GPUs of this machine, or else its CPU.

    Attributes:
        tpu: name or address of a TPU; `local` for the TPU of this machine.
        num_gpus: GPUs to use; 0 for none, None for all.
        virtual_cpus: devices to make of the CPU, to try out several.
        num_replicas: refuse to run unless there are this many in all.
    """

    tpu: str = ""
    num_gpus: int | None = None
    virtual_cpus: int | None = None
    num_replicas: int | None = None

    def replicas(self) -> "replicas_lib.Replicas":
        """The replicas that these devices and `TF_CONFIG` make.

        Raises:
            ValueError, OSError: as `tpu.distribute.strategy.create`.
        """
        # Late, here and below, so that importing this module is cheap.
        from tpu.distribute import replicas as replicas_lib, strategy

        return replicas_lib.Replicas(
            strategy.create(
                self.tpu, self.num_gpus, self.virtual_cpus, self.num_replicas
            )
        )


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of `tasks.serve`, and how to call it.

    Attributes:
        address: of its gRPC front, `host:port`.
        model_name: under which it has the model.
        token: a bearer token.
        root_certificates: PEM; turns TLS on.
        certificate_chain: PEM, for mutual TLS.
        private_key: PEM, for mutual TLS.
        timeout_seconds: of one recording.
        sample_rate: of the served base model, in hertz.
    """

    address: str = "localhost:8500"
    model_name: str = "submodels"
    token: str = dataclasses.field(default="", repr=False)
    root_certificates: bytes = b""
    certificate_chain: bytes = b""
    private_key: bytes = dataclasses.field(default=b"", repr=False)
    timeout_seconds: float = 60.0
    sample_rate: int = 16000

    def connect(self) -> "client.Client":
        """A connection to the server.

        Raises:
            ValueError: as `tasks.serving.client.Client`.
        """
        from tasks.serving import client

        return client.Client(
            self.address,
            token=self.token,
            model=self.model_name,
            timeout_seconds=self.timeout_seconds,
            sample_rate=self.sample_rate,
            root_certificates=self.root_certificates,
            certificate_chain=self.certificate_chain,
            private_key=self.private_key,
        )
