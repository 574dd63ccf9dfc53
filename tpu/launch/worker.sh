# shellcheck shell=bash
# The functions that tpu/launch/launch.sh calls on the workers of a TPU. Each ssh
# command holds the text of this file, and a call of one function after it.
# In the home folder they own submodels (the code), submodels-venv,
# submodels-installed (made when the installation is complete), submodels-run
# (about the last command) and data.
set -euo pipefail
cd "$HOME"

problem() {
    printf 'error: worker %s: %s\n' "$(hostname)" "$*" >&2
    exit 1
}

# Whether the last command still runs: the process with its number is ours.
alive() {
    local pid
    [ -s submodels-run/pid ] || return 1
    pid=$(cat submodels-run/pid)
    grep -qs submodels-run "/proc/$pid/cmdline"
}

install_code() {
    local tensorflow=$1 venv=submodels-venv/bin keras_hub=0.32
    ! alive || problem "a command is running here; run step 'stop' first"
    rm -rf submodels-installed submodels.new
    mkdir submodels.new
    tar -xzf submodels.tar.gz -C submodels.new
    rm -rf submodels submodels.tar.gz
    mv submodels.new submodels
    if ! python3.11 -m ensurepip --version >/dev/null 2>&1; then
        sudo apt-get -qq update
        sudo apt-get -qqy install python3.11 python3.11-venv
    fi
    [ -x $venv/pip ] || python3.11 -m venv submodels-venv
    if [ "$tensorflow" = 2.20 ]; then
        $venv/pip install --quiet --editable './submodels[tpu]'
    else
        # Later versions require a later tensorflow-text.
        keras_hub=0.31
        $venv/pip install --quiet --editable ./submodels \
            "tensorflow-tpu==$tensorflow.*" kagglehub regex 'sentencepiece<0.2.2'
    fi
    # They require the package tensorflow, which would overwrite the one for TPUs.
    $venv/pip install --quiet --no-deps \
        "tensorflow-text==$tensorflow.*" "keras-hub==$keras_hub.*"
    $venv/python -c 'import keras_hub, tensorflow, tensorflow_text'
    touch submodels-installed
}

fetch_data() {
    mkdir -p data
    gcloud storage rsync --recursive "$1" data
}

# ready_to_run [BUCKET]: fails if a command could not start.
ready_to_run() {
    local probe
    [ -e submodels-installed ] ||
        problem "the code is not installed; run step 'install'"
    ! alive || problem "a command is running already; run step 'watch' or 'stop'"
    check_single_host
    [ $# -gt 0 ] || return 0
    probe=$1/.launch-$(hostname)-$$
    if ! echo probe | gcloud storage cp --quiet - "$probe" ||
        ! gcloud storage rm --quiet "$probe"; then
        problem "the TPU's service account may not write to $1; grant it" \
            "roles/storage.objectAdmin there"
    fi
}

# metadata NAME: an attribute of this worker, from the metadata server.
metadata() {
    local at=${GCE_METADATA_HOST:-metadata.google.internal}
    curl -fsS -m 30 --retry 3 -H 'Metadata-Flavor: Google' \
        "http://$at/computeMetadata/v1/instance/attributes/$1" ||
        problem "the metadata server does not say what '$1' is"
}

# A job trains on one host: several workers would each train the whole job, and
# overwrite each other's results.
check_single_host() {
    local endpoints
    endpoints=$(metadata worker-network-endpoints)
    [[ $endpoints != *,* ]] ||
        problem "a command runs on one host, but this TPU has several; create" \
            "one with a single host, such as --accelerator_type=v5litepod-8"
}

# start_run COMMAND: starts a command, given as one line for a shell.
start_run() {
    rm -rf submodels-run
    mkdir submodels-run
    printf '%s\n' "$1" >submodels-run/command
    # The outer shell outlives a SIGTERM to its group, to keep the exit code.
    # shellcheck disable=SC2016 # expanded by that shell
    setsid nohup bash -c '
        trap : TERM
        cd "$HOME/submodels"
        PATH=$HOME/submodels-venv/bin:$PATH bash -c "$1"
        echo $? >"$HOME/submodels-run/exit_code.new"
        mv "$HOME/submodels-run/exit_code.new" "$HOME/submodels-run/exit_code"
    ' submodels "$1" >submodels-run/log 2>&1 </dev/null &
    echo $! >submodels-run/pid
}

# stop_run SECONDS [asked]: sends SIGTERM, so that the command can save itself,
# and SIGKILL after SECONDS. `asked` marks a stop that the user wanted: a loop
# of `watch` and `resume` must not undo it.
stop_run() {
    local pid tenths=0
    # It may have ended already, with another worker or with its machine.
    if [ "${2:-}" = asked ] && [ -e submodels-run/pid ] &&
        { [ ! -e submodels-run/exit_code ] ||
            grep -qx 143 submodels-run/exit_code; }; then
        touch submodels-run/stopped
    fi
    alive || return 0
    pid=$(cat submodels-run/pid)
    kill -TERM -- "-$pid"
    while alive && [ $tenths -lt $(($1 * 10)) ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    ! alive || kill -KILL -- "-$pid"
}

# tell: prints a line with the host, the state and the end of the log.
tell() {
    local what=nothing last=""
    if alive; then
        what=running
    elif [ -e submodels-run/stopped ]; then
        what=stopped
    elif [ -e submodels-run/exit_code ]; then
        what="finished $(cat submodels-run/exit_code)"
    elif [ -e submodels-run/pid ]; then
        what=died
    elif [ ! -e submodels-installed ]; then
        what=absent
    fi
    # Progress bars overwrite their line.
    [ ! -e submodels-run/log ] ||
        last=$(tail -c 400 submodels-run/log | tr '\b' '\r' | tr '\r' '\n' |
            grep . | tail -n 1 | cut -c 1-200) || true
    printf 'submodels: %s %s | %s\n' "$(hostname)" "$what" "$last"
}
