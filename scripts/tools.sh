# shellcheck shell=bash
# Which tools the project uses, in which versions, and where they are kept. Sourced by the other scripts.
#
# Each download is verified by hash: tools from PyPI against scripts/locks (run `scripts/lock-tools` after changing a version
# here), packages from npm against package-lock.json, the jars against tests/harness/mongo/jars.sha256. A program from crates.io is
# verified by cargo: the registry's index has the hash of the package, whose own Cargo.lock has those of its dependencies. apt
# and brew verify what they install.
#
# A tool lives in a directory of its own, named after its version, outside the clone: a second clone finds it, a new
# version is a new directory. Its bin/ appears last, so a directory that has one is a whole one.

# shellcheck disable=SC2034  # used by the scripts that source this file
{
    CARGO_LAMBDA_VERSION=1.9.2
    CARGO_DENY_VERSION=0.20.2
    CARGO_MUTANTS_VERSION=27.1.0
    CFN_LINT_VERSION=1.58.0
    FLASK_VERSION=3.1.3
    FLASK_CORS_VERSION=6.0.5
    LOCALSTRIPE_VERSION=1.15.10
    MONGO_JAVA_SERVER_VERSION=1.47.0
    MOTO_VERSION=5.2.5
    POWERTOOLS_PYTHON_VERSION=3.37.0
    POWERTOOLS_TYPESCRIPT_VERSION=2.35.0
    PYYAML_VERSION=6.0.4
    SAM_CLI_VERSION=1.170.0
    SAM_TRANSLATOR_VERSION=1.115.0
    SCHEMATHESIS_VERSION=4.32.5
    SETUPTOOLS_VERSION=84.2.1
    UV_VERSION=0.13.9
    ZIG_VERSION=0.17.1
}

tools="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/truebond"
# Where the harness looks by itself too, except without HOME.
export MONGODB_JAVA_SERVER_DIR="${MONGODB_JAVA_SERVER_DIR:-$tools/mongo-java-server-$MONGO_JAVA_SERVER_VERSION}"

# The redis-server unpacked without root carries its distribution's version, hence the pattern; one from PATH goes first.
for dir in "$tools"/redis-server-*/bin; do
    if [ -d "$dir" ]; then PATH="$PATH:$dir"; fi
done
PATH="$tools/cargo-lambda-$CARGO_LAMBDA_VERSION/bin:$tools/cargo-deny-$CARGO_DENY_VERSION/bin:$tools/cargo-mutants-$CARGO_MUTANTS_VERSION/bin:$tools/cfn-lint-$CFN_LINT_VERSION/bin:$tools/localstripe-$LOCALSTRIPE_VERSION/bin:$tools/moto-$MOTO_VERSION/bin:$tools/schemathesis-$SCHEMATHESIS_VERSION/bin:$tools/sam-translator-$SAM_TRANSLATOR_VERSION/bin:$tools/ziglang-$ZIG_VERSION/bin:$tools/aws-sam-cli-$SAM_CLI_VERSION/bin:$tools/uv-$UV_VERSION/bin:$tools/powertools-python-$POWERTOOLS_PYTHON_VERSION/bin:$tools/powertools-typescript-$POWERTOOLS_TYPESCRIPT_VERSION/bin:$PATH"
export PATH

# say <sentence>: one line to the person at the terminal.
say() { printf '==> %s\n' "$*"; }

# die <sentence>: the same, as the last one.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# step <name> <command…>: announces a command, runs it and says how long it took; a failure ends the script.
step() {
    local name=$1 start=$SECONDS
    shift
    say "$name"
    "$@" || die "$name failed after $((SECONDS - start)) s: $*"
    say "$name: $((SECONDS - start)) s"
}
