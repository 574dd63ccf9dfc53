# shellcheck shell=bash disable=SC2034 # launch.sh reads what is set here
# The steps and flags of tpu/launch/launch.sh, and the checks of both.

readonly STEPS="create wait install copy fetch run watch stop resume delete help"
readonly FLAGS="name zone project accelerator_type runtime_version spot vm
service_account bucket data tensorflow wait_minutes poll_seconds dry_run"

name=${TPU_NAME:-} zone=${TPU_ZONE:-} project=${TPU_PROJECT:-}
bucket=${TPU_BUCKET:-} data="" accelerator_type="" runtime_version=""
service_account="" tensorflow=2.20 wait_minutes=600 poll_seconds=30
spot=false vm=false dry_run=false
step="" command=()

help() {
    cat <<'EOF'
usage: tpu/launch/launch.sh STEP --name=NAME --zone=ZONE [--FLAG=VALUE ...] [-- COMMAND]

steps
  create    requests the TPU: in the queue, or at once with --vm
  wait      waits until the TPU is ready
  install   installs this code and TensorFlow for TPUs on every worker
  copy      copies the folder --data to --bucket
  fetch     copies the data from the bucket to ~/data on every worker
  run       starts COMMAND on every worker, in ~/submodels
  watch     prints the last line of every worker's log until all have finished
  stop      stops the run, which may save itself first
  resume    restores whatever is missing, and starts COMMAND again
  delete    deletes the TPU; the bucket stays
  help      prints this help

flags
  --name, --zone, --project, --bucket
                       or TPU_NAME, TPU_ZONE, TPU_PROJECT and TPU_BUCKET in
                       the environment
  --accelerator_type   such as v5litepod-8; for create and resume
  --runtime_version    default: the plain one for the accelerator type
  --spot               a cheaper TPU, which may be preempted
  --vm                 create the TPU at once, or fail, instead of queueing
  --service_account    the account of the workers
  --tensorflow         2.20 (default) or 2.19
  --wait_minutes       how long to wait (default: 600)
  --poll_seconds       how often to look (default: 30)
  --dry_run            print every command, and run none
EOF
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# near WORD CANDIDATES...: the candidates within two edits (Levenshtein).
near() {
    local word=$1
    shift
    printf '%s\n' "$@" | awk -v word="$word" '
        {
            rows = length(word); columns = length($0)
            for (i = 0; i <= rows; i++) cost[i, 0] = i
            for (j = 0; j <= columns; j++) cost[0, j] = j
            for (i = 1; i <= rows; i++) for (j = 1; j <= columns; j++) {
                best = cost[i - 1, j - 1] \
                    + (substr(word, i, 1) != substr($0, j, 1))
                if (cost[i - 1, j] + 1 < best) best = cost[i - 1, j] + 1
                if (cost[i, j - 1] + 1 < best) best = cost[i, j - 1] + 1
                cost[i, j] = best
            }
            if (cost[rows, columns] <= 2) found = found (found ? ", " : "") $0
        }
        END { print found }'
}

# unknown KIND WORD CANDIDATES...: fails; suggests the near ones, or lists all.
unknown() {
    local kind=$1 word=$2 close
    shift 2
    close=$(near "$word" "$@")
    [ -z "$close" ] || fail "unknown $kind '$word'. Did you mean: $close?"
    fail "unknown $kind '$word'. Known: $*"
}

# quoted COMMAND...: the command as a line that a shell reads back.
quoted() {
    local text
    text=$(printf '%q ' "$@")
    printf '%s' "${text% }"
}

need() {
    local flag
    for flag in "$@"; do
        [ -n "${!flag}" ] || fail "step '$step' needs --$flag=..."
    done
}

set_flag() {
    local flag=${1%%=*} value=${1#*=} known
    flag=${flag#--}
    read -r -d '' -a known <<<"$FLAGS" || true
    [[ " ${known[*]} " == *" $flag "* ]] ||
        unknown flag "--$flag" "${known[@]/#/--}"
    case $flag in
    spot | vm | dry_run)
        [ "$1" != "--$flag" ] || value=true
        [[ $value == true || $value == false ]] ||
            fail "--$flag must be true or false. Received: '$value'." ;;
    *)
        [[ $1 == *=* && -n $value ]] ||
            fail "--$flag needs a value: --$flag=..." ;;
    esac
    printf -v "$flag" '%s' "$value"
}

parse() {
    local known
    while [ $# -gt 0 ]; do
        case $1 in
        --help) step=help ;;
        --)
            shift
            command=("$@")
            break ;;
        --*) set_flag "$1" ;;
        *)
            [ -z "$step" ] || fail "give one step, not '$step' and '$1'. The" \
                "command for the workers comes after --"
            step=$1 ;;
        esac
        shift
    done
    step=${step:-help}
    read -r -a known <<<"$STEPS"
    [[ " ${known[*]} " == *" $step "* ]] || unknown step "$step" "${known[@]}"
}

check() {
    bucket=${bucket%/}
    [[ -z $name || $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
        fail "--name must begin with a lower-case letter, continue with" \
            "lower-case letters, digits and -, and not end with -." \
            "Received: '$name'."
    [[ -z $bucket || $bucket =~ ^gs://[^/]+ ]] ||
        fail "--bucket must be an address such as gs://mine/speech." \
            "Received: '$bucket'."
    [[ $tensorflow == 2.19 || $tensorflow == 2.20 ]] ||
        fail "--tensorflow must be 2.19 or 2.20, which have wheels for TPUs." \
            "Received: '$tensorflow'."
    [[ $wait_minutes$poll_seconds =~ ^[0-9]+$ ]] ||
        fail "--wait_minutes and --poll_seconds must be whole numbers." \
            "Received: '$wait_minutes', '$poll_seconds'."
    case $step in
    copy) need bucket data ;;
    create | resume)
        need name zone accelerator_type ;;
    fetch) need name zone bucket ;;
    *) need name zone ;;
    esac
    [[ $step != copy || -d $data ]] || fail "--data: there is no folder '$data'"
    if [[ $step == run || $step == resume ]] && [ ${#command[@]} -eq 0 ]; then
        fail "step '$step' needs a command for the workers:" \
            "tpu/launch/launch.sh $step ... -- python -m tasks.train ..."
    fi
    "$dry_run" || type gcloud >/dev/null 2>&1 ||
        fail "gcloud is not on the PATH. Install the Google Cloud CLI, or use" \
            "--dry_run to see the commands"
}
