"""The versions that serve: policies, labels, reloads, the old ones' end."""

import asyncio

import pytest

from tasks.serving import errors, messages
from tasks.serving.models import served_models, versions
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

State = messages.State


class Version(versions.ModelVersion):
    """A version without threads and rows."""

    is_closed = False

    def __init__(self, name, version, path):
        engine = fake_engine.FakeEngine()
        super().__init__(name, version, path, engine, None, None, None)

    async def close(self):
        self.is_closed = True


class Setting:
    """Models whose exports are names in `folders`; `bad` paths do not load."""

    def __init__(self, folders, **changes):
        self.folders = {"/a": list(folders)}
        self.bad = set()
        self.loaded = []
        self.looks = 0
        self.is_loading, self.may_load = asyncio.Event(), asyncio.Event()
        self.may_load.set()
        self.now = 1000.0
        self.models = served_models.ServedModels(
            self._load,
            fake_source.changed(**changes),
            self._list,
            lambda: self.now,
        )

    def _list(self, path):
        self.looks += 1
        if "\0" in path:
            raise ValueError("embedded null byte")
        if path not in self.folders:
            raise FileNotFoundError(2, "No such folder", path)
        return self.folders[path]

    async def _load(self, name, version, path):
        self.loaded.append(path)
        self.is_loading.set()
        await self.may_load.wait()
        if path in self.bad:
            raise ValueError("truncated")
        return Version(name, version, path)

    async def reload(self, name="asr", base_path="/a", **policy):
        await self.models.reload(
            [messages.ModelConfig(name, base_path, **policy)]
        )

    async def refusal(self, **policy):
        with pytest.raises(errors.ServingError) as caught:
            await self.reload(**policy)
        return caught.value

    def find(self, version=None, label=None, name="asr"):
        return self.models.find(messages.ModelSpec(name, version, label))

    def serving(self):
        return sorted(model.version for model in self.models.available)

    def states(self):
        return {
            each.version: each.state
            for each in self.models.status(messages.ModelSpec("asr"))
        }


FOLDERS = ("1", "2/", "0003", "10", "tmp-4", ".writing-5", "-6", "7.5")


@pytest.mark.parametrize(
    "policy, versions",
    [
        ({}, [10]),
        ({"latest": 2}, [3, 10]),
        ({"latest": 99}, [1, 2, 3, 10]),
        ({"specific": (1, 3)}, [1, 3]),
        ({"all_versions": True}, [1, 2, 3, 10]),
    ],
)
def test_a_policy_chooses_the_versions(policy, versions):
    async def main():
        setting = Setting(FOLDERS)
        await setting.reload(**policy)
        assert setting.serving() == versions
        assert setting.find().version == versions[-1]
        assert setting.find(version=versions[0]).version == versions[0]
        assert setting.models.ready

    asyncio.run(main())


def test_paths_are_as_the_folder_has_them():
    async def main():
        setting = Setting(FOLDERS)
        await setting.reload(all_versions=True)
        assert setting.loaded == ["/a/10", "/a/0003", "/a/2", "/a/1"]

    asyncio.run(main())


def test_a_new_version_takes_over_and_the_old_one_ends_with_its_requests():
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        old = setting.find()
        with old.lease():
            setting.folders["/a"].append("2")
            await setting.reload()
            assert setting.find().version == 2
            await waiting.for_others()
            assert not old.is_closed
            assert setting.states() == {
                1: State.UNLOADING,
                2: State.AVAILABLE,
            }
        await waiting.until(lambda: old.is_closed)
        assert setting.states() == {1: State.END, 2: State.AVAILABLE}
        with pytest.raises(errors.ServingError):
            setting.find(version=1)

    asyncio.run(main())


def test_a_path_that_cannot_be_listed_is_refused_and_forgotten():
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        for path in ("/gone", "/a\0b"):
            error = await setting.refusal(name="new", base_path=path)
            assert error.code is errors.Code.FAILED_PRECONDITION
            assert "cannot look for versions" in error.message
            assert setting.models.ready

    asyncio.run(main())


@pytest.mark.parametrize("policy", [{}, {"specific": (2,)}])
def test_a_corrupt_version_leaves_the_old_one_serving(policy):
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        old = setting.find()
        setting.folders["/a"].append("2")
        setting.bad.add("/a/2")
        error = await setting.refusal(**policy)
        assert error.code is errors.Code.FAILED_PRECONDITION
        assert error.message == "model 'asr' version 2 does not load: truncated"
        assert setting.find() is old
        assert not old.is_closed
        [broken, _] = setting.models.status(messages.ModelSpec("asr"))
        assert (broken.version, broken.state) == (2, State.END)
        # Everybody may read it, and the reason may name a path.
        assert broken.error.message == (
            "model 'asr' version 2 does not load; the server's log says why"
        )

    asyncio.run(main())


def test_where_the_newest_is_corrupt_from_the_start_the_next_one_serves():
    async def main():
        setting = Setting(["1", "2"])
        setting.bad.add("/a/2")
        await setting.refusal()
        assert setting.serving() == [1]
        assert setting.models.ready

    asyncio.run(main())


def test_without_any_version_that_loads_nothing_is_ready():
    async def main():
        setting = Setting(["1"])
        setting.bad.add("/a/1")
        await setting.refusal()
        assert not setting.models.ready
        with pytest.raises(errors.ServingError) as caught:
            setting.find()
        assert caught.value.code is errors.Code.NOT_FOUND

    asyncio.run(main())


def test_labels_follow_the_configuration_and_need_versions_that_serve():
    async def main():
        setting = Setting(["1", "2"])
        await setting.reload(
            all_versions=True, labels={"stable": 1, "canary": 2}
        )
        assert setting.find(label="stable").version == 1
        await setting.reload(all_versions=True, labels={"stable": 2})
        assert setting.find(label="stable").version == 2
        with pytest.raises(errors.ServingError) as caught:
            setting.find(label="canary")
        assert caught.value.code is errors.Code.INVALID_ARGUMENT
        error = await setting.refusal(all_versions=True, labels={"stable": 7})
        assert error.code is errors.Code.FAILED_PRECONDITION
        assert setting.find(label="stable").version == 2

    asyncio.run(main())


def test_a_version_with_a_label_keeps_serving_beside_newer_ones():
    async def main():
        setting = Setting(["1"])
        await setting.reload(labels={"stable": 1})
        setting.folders["/a"].append("2")
        await setting.reload(labels={"stable": 1})
        assert setting.serving() == [1, 2]
        assert setting.find().version == 2
        assert setting.find(label="stable").version == 1
        await setting.reload(labels={"stable": 2})
        assert setting.serving() == [2]

    asyncio.run(main())


def test_new_versions_are_found_without_a_reload_and_bad_ones_tried_rarely():
    async def main():
        setting = Setting(["1"], model_poll_seconds=0.001)
        await setting.reload()
        polling = asyncio.create_task(setting.models.run())
        setting.bad.add("/a/2")
        setting.folders["/a"].append("2")
        await waiting.until(lambda: "/a/2" in setting.loaded)
        looks = setting.looks
        await waiting.until(lambda: setting.looks > looks + 3)
        assert setting.loaded == ["/a/1", "/a/2"]
        assert setting.serving() == [1]
        setting.folders["/a"].append("3")
        await waiting.until(lambda: setting.serving() == [3])
        setting.folders["/a"].remove("3")
        setting.bad.clear()
        setting.now += 61
        await waiting.until(lambda: setting.serving() == [2])
        polling.cancel()

    asyncio.run(main())


def test_a_folder_that_cannot_be_read_or_is_emptied_changes_nothing():
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        setting.folders["/a"] = []
        assert "no versions" in (await setting.refusal()).message
        del setting.folders["/a"]
        assert "cannot look" in (await setting.refusal()).message
        assert setting.serving() == [1]

    asyncio.run(main())


def test_the_same_number_at_another_path_is_another_model():
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        old = setting.find()
        setting.folders["/b"] = ["1"]
        await setting.reload(base_path="/b")
        assert setting.find().path == "/b/1"
        await waiting.until(lambda: old.is_closed)
        assert setting.states() == {1: State.AVAILABLE}

    asyncio.run(main())


def test_models_that_are_no_longer_named_are_closed():
    async def main():
        setting = Setting(["1"])
        await setting.reload(name="old")
        old = setting.find(name="old")
        await setting.reload(name="new")
        with pytest.raises(errors.ServingError):
            setting.find(name="old")
        await waiting.until(lambda: old.is_closed)
        assert setting.find(name="new").version == 1

    asyncio.run(main())


def test_a_reload_that_fails_drops_nothing_and_takes_up_nothing_broken():
    async def main():
        setting = Setting(["1"])
        setting.folders["/b"] = ["1", "2"]
        await setting.reload(name="old")
        old = setting.find(name="old")
        setting.bad |= {"/b/1", "/b/2"}
        for _ in range(2):
            refused = await setting.refusal(name="new", base_path="/b")
            assert "does not load" in refused.message
            await waiting.for_others()
            assert setting.find(name="old") is old and not old.is_closed
            assert setting.models.ready
            assert not setting.models.is_available("new")
        # A part of it that is whole serves beside what was there.
        setting.bad.discard("/b/1")
        await setting.refusal(name="new", base_path="/b")
        assert setting.find(name="old") is old
        assert setting.find(name="new").version == 1

    asyncio.run(main())


def test_a_reload_whose_caller_goes_away_is_finished():
    async def main():
        setting = Setting(["1"])
        setting.may_load.clear()
        task = asyncio.create_task(setting.reload())
        await setting.is_loading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        setting.may_load.set()
        # The next one waits for it, and finds the version that it loaded.
        await setting.reload()
        assert setting.loaded == ["/a/1"]
        assert setting.find().version == 1
        await setting.models.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "configs",
    [
        [],
        [messages.ModelConfig("asr", "/a")] * 2,
    ],
)
def test_configurations_that_make_no_sense_change_nothing(configs):
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        with pytest.raises(errors.ServingError) as caught:
            await setting.models.reload(configs)
        assert caught.value.code is errors.Code.INVALID_ARGUMENT
        assert setting.serving() == [1]

    asyncio.run(main())


@pytest.mark.parametrize(
    "name, base_path, latest", [("", "/a", 1), ("asr", "", 1), ("asr", "/a", 0)]
)
def test_a_configuration_that_makes_no_sense_is_refused(
    name, base_path, latest
):
    with pytest.raises(ValueError):
        messages.ModelConfig(name, base_path, latest)


def test_the_status_of_unknown_models_and_versions_is_not_found():
    async def main():
        setting = Setting(["1"])
        await setting.reload()
        for spec in (
            messages.ModelSpec("other"),
            messages.ModelSpec("asr", version=2),
        ):
            with pytest.raises(errors.ServingError) as caught:
                setting.models.status(spec)
            assert caught.value.code is errors.Code.NOT_FOUND

    asyncio.run(main())


def test_few_ended_versions_are_remembered():
    async def main():
        setting = Setting(["1"])
        for version in range(2, 32):
            await setting.reload()
            setting.folders["/a"] = [str(version)]
            await asyncio.sleep(0)
        await waiting.until(lambda: len(setting.states()) < 12)

    asyncio.run(main())
