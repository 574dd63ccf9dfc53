#!/usr/bin/env bash
# Creates a Cloud TPU, runs a command on its workers, and deletes the TPU.
# tpu/launch/README.md is the guide; `tpu/launch/launch.sh help` lists the steps.
set -euo pipefail

# The exit status of `watch` if `resume` can help.
readonly TRY_AGAIN=75
# How long a run that is stopped may take to save itself.
readonly STOP_SECONDS=300
# The exit status of tasks.train after a SIGTERM; it can go on from there.
readonly SAVED=143

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tpu/launch/launch_flags.sh
. "$here/launch_flags.sh"
temporary=$(mktemp -d)
: >"$temporary/errors"
half_made=false
# Questions are asked inside $(...); what a dry run prints has to bypass that.
exec 3>&1

# attempt WHAT COMMAND...: runs the command; a failure becomes one message.
attempt() {
    local what=$1
    shift
    if "$dry_run"; then
        printf '%s\n' "$(quoted "$@")" >&3
    elif "$@" 2>"$temporary/errors" 3>&-; then
        cat "$temporary/errors" >&2
    else
        explain "$what"
    fi
}

# explain WHAT: fails with a message made from the output of gcloud or a worker.
explain() {
    local all reason hint=""
    all=$(cat "$temporary/errors")
    # A worker's own message says more than gcloud's about it.
    reason=$(grep -m 1 '^error: ' <<<"$all" || grep -m 1 -i error <<<"$all" ||
        grep -m 1 . <<<"$all" || echo "no reason was given")
    reason=${reason#ERROR: }
    reason=${reason%.}
    case $all in
    *UNAUTHENTICATED* | *"gcloud auth login"* | *eauthentication*)
        hint=". Log in: gcloud auth login" ;;
    *PERMISSION_DENIED* | *"does not have"* | *AccessDenied* | *" 403"*)
        hint=". The account lacks a role; tpu/launch/README.md lists them" ;;
    *RESOURCE_EXHAUSTED* | *"no more capacity"* | *uota*)
        hint=". Queue the request (without --vm), or ask in another zone or for less" ;;
    esac
    fail "$what failed: ${reason#error: }$hint"
}

# ask COMMAND...: prints gcloud's answer; nothing if there is no such TPU.
ask() {
    local what="looking for $name"
    if "$dry_run"; then
        printf '%s\n' "$(quoted "$@")" >&3
    elif ! "$@" 2>"$temporary/errors"; then
        grep -qiE 'NOT_FOUND|not found' "$temporary/errors" || explain "$what"
    fi
}

# queued ask, node ask: the state of the queued resource, and of the VM.
queued() {
    "$@" "${tpus[@]}" queued-resources describe "$name" "${place[@]}" \
        '--format=value(state.state)'
}

node() {
    "$@" "${tpus[@]}" tpu-vm describe "$name" "${place[@]}" \
        '--format=value(state)'
}

# The state of the TPU, in the queue or else as a VM; nothing if it is absent.
state() {
    local answer
    answer=$(queued ask) || exit
    [ -n "$answer" ] || answer=$(node ask) || exit
    printf '%s' "$answer"
}

lost() {
    case $1 in
    SUSPEND* | FAILED | PREEMPTED | TERMINATED | STOP* | DELETING) ;;
    *) return 1 ;;
    esac
}

default_runtime_version() {
    case $accelerator_type in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
    *)
        fail "unknown accelerator type '$accelerator_type'. Known are v2-8," \
            "v3-8, v4-8, v5litepod-4, v5p-8, v6e-4 and larger ones; for" \
            "another, give --runtime_version=... too" ;;
    esac
}

# Writes and removes a small object: permission to read is not enough.
check_bucket() {
    local probe
    probe=$bucket/.launch-$$-$RANDOM
    attempt "writing to $bucket" \
        gcloud storage cp --quiet "$here/README.md" "$probe"
    attempt "removing from $bucket" gcloud storage rm --quiet "$probe"
}

create() {
    local there options
    [ -n "$runtime_version" ] || runtime_version=$(default_runtime_version)
    [ -z "$bucket" ] || check_bucket
    there=$(state)
    ! lost "$there" ||
        fail "$name exists, but is $there: run step 'resume' or 'delete'"
    if [ -n "$there" ]; then
        echo "$name exists already: $there"
        return
    fi
    options=("${place[@]}" "--accelerator-type=$accelerator_type")
    ! "$spot" || options+=(--spot)
    [ -z "$service_account" ] || options+=("--service-account=$service_account")
    half_made=true
    if "$vm"; then
        attempt "creating $name" "${tpus[@]}" tpu-vm create "$name" \
            "${options[@]}" "--version=$runtime_version"
    else
        attempt "requesting $name" "${tpus[@]}" queued-resources create \
            "$name" "--node-id=$name" "${options[@]}" \
            "--runtime-version=$runtime_version"
    fi
    half_made=false
}

# A request that fails or is interrupted must leave nothing that costs money.
leave() {
    local status=$?
    trap - EXIT
    if "$half_made" && ! "$dry_run" &&
        ! grep -qi 'already.exists' "$temporary/errors"; then
        (remove) >/dev/null 2>&1 ||
            echo "error: $name may be half made: run step 'delete'" >&2
    fi
    rm -rf "$temporary"
    exit "$status"
}

remove() {
    local there
    there=$(queued ask)
    if [ -n "$there" ] || "$dry_run"; then
        attempt "deleting $name" "${tpus[@]}" queued-resources delete "$name" \
            "${place[@]}" --force --quiet
        "$dry_run" || return 0
    fi
    there=$(node ask)
    if [ -n "$there" ] || "$dry_run"; then
        attempt "deleting $name" "${tpus[@]}" tpu-vm delete "$name" \
            "${place[@]}" --quiet
    else
        echo "there is no $name in $zone"
    fi
}

wait_until_ready() {
    local there polls=0
    while true; do
        there=$(state)
        ! "$dry_run" || return 0
        case $there in
        READY | ACTIVE)
            echo "$name is ready"
            return ;;
        "") fail "there is no $name in $zone; run step 'create'" ;;
        esac
        ! lost "$there" || fail "$name will not become ready: it is $there." \
            "Run step 'resume' or 'delete'"
        [ $((polls * poll_seconds)) -lt $((wait_minutes * 60)) ] ||
            fail "$name is still $there after $wait_minutes minutes, and keeps" \
                "its place: run step 'wait' again, or 'delete'"
        echo "$name: $there"
        sleep "$poll_seconds"
        polls=$((polls + 1))
    done
}

# on_workers WHAT CALL...: calls a function of worker.sh on every worker.
on_workers() {
    local what=$1 ssh
    shift
    ssh=("${tpus[@]}" tpu-vm ssh "$name" "${place[@]}" --worker=all)
    if "$dry_run"; then
        # shellcheck disable=SC2016 # the shell that it is pasted into expands it
        printf '%s "--command=$(cat %q)"%q\n' "$(quoted "${ssh[@]}")" \
            "$here/worker.sh" $'\n'"$(quoted "$@")" >&3
    else
        attempt "$what" "${ssh[@]}" \
            "--command=$(cat "$here/worker.sh")"$'\n'"$(quoted "$@")"
    fi
}

install() {
    local code=$temporary/submodels.tar.gz
    attempt "packing the code" tar -C "$root" -czf "$code" \
        --exclude=__pycache__ LICENSE README.md setup.cfg pyproject.toml \
        lingvo_like params tasks tests tpu
    attempt "copying the code" "${tpus[@]}" tpu-vm scp "$code" \
        "$name:submodels.tar.gz" "${place[@]}" --worker=all
    on_workers "installing" install_code "$tensorflow"
}

copy() {
    check_bucket
    attempt "copying to $bucket" \
        gcloud storage rsync --recursive "$data" "$bucket/data"
}

fetch() {
    on_workers "fetching $bucket/data" fetch_data "$bucket/data"
}

run() {
    # All workers are checked before any is started.
    on_workers "looking at the workers" ready_to_run ${bucket:+"$bucket"}
    if ! (on_workers "starting" start_run "$(quoted "${command[@]}")"); then
        stop
        exit 1
    fi
    "$dry_run" || echo "started on every worker of $name"
}

# stop [asked]: `asked` if the user called the step, not another step.
stop() {
    on_workers "stopping" stop_run "$STOP_SECONDS" "$@"
}

again() {
    printf 'error: %s: run step '"'resume'"'\n' "$*" >&2
    exit "$TRY_AGAIN"
}

# Writes a line from each worker into the file `told`.
hear() {
    (on_workers "asking the workers" tell) >"$temporary/answers" || return
    # No line at all is no answer either, even if ssh succeeds.
    grep -o 'submodels: .*' "$temporary/answers" >"$temporary/told" ||
        "$dry_run"
}

# told STATE: whether any worker is in this state, a regular expression.
told() {
    grep -qE "^submodels: [^ ]+ ($1) " "$temporary/told"
}

watch() {
    local there
    while true; do
        there=$(state)
        if ! "$dry_run" && [[ $there != READY && $there != ACTIVE ]]; then
            again "$name is ${there:-gone}"
        fi
        hear || again "a worker does not answer"
        if "$dry_run"; then
            cat "$temporary/answers"
            return
        fi
        cut -d ' ' -f 2- "$temporary/told"
        ! told died || again "the command was killed on a worker"
        ! told "finished $SAVED" ||
            again "the command saved itself and ended on a worker"
        ! told stopped || fail "the command was stopped: run step" \
            "'resume' to continue it"
        ! told 'nothing|absent' || fail "no command runs: run step 'run'"
        ! told 'finished [1-9][0-9]*' ||
            fail "the command failed on a worker; ~/submodels-run/log there" \
                "says why. If others still run, run step 'stop'"
        told running || break
        sleep "$poll_seconds"
    done
    echo "finished on every worker"
}

resume() {
    local there unfinished='died|stopped|absent|nothing|finished [1-9][0-9]*'
    there=$(state)
    if [[ $there == READY || $there == ACTIVE ]]; then
        hear || fail "a worker of $name does not answer, yet it is $there." \
            "Wait a little; if that does not help, run step 'delete', then" \
            "'resume'"
        if told running && ! told "$unfinished"; then
            echo "nothing to resume: the command runs on every worker"
            return
        fi
        if ! told "running|$unfinished"; then
            echo "nothing to resume: the command has finished"
            return
        fi
        stop
        if ! told absent; then
            run
            return
        fi
    else
        if [ -z "$there" ] || lost "$there"; then
            remove
            create
        fi
        wait_until_ready
    fi
    install
    [ -z "$bucket" ] || fetch
    run
}

trap leave EXIT
trap 'exit 130' INT TERM
parse "$@"
[ "$step" = help ] || check
place=("--zone=$zone" ${project:+"--project=$project"})
tpus=(gcloud compute tpus)
case $step in
wait) wait_until_ready ;;
delete) remove ;;
stop) stop asked ;;
*) "$step" ;;
esac
