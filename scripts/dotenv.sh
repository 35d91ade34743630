# shellcheck shell=bash
# Reads `.env`. Sourced, never run; and `.env` itself is never sourced, as a `$` or a backquote in a password would
# be taken for shell code.

# load_dotenv <file>: exports its variables, except those the environment has already, even if empty.
#
#   NAME=value            spaces around it are dropped; a # after a space starts a comment, any other # is kept
#   NAME="value"          and 'value': everything up to the same quote, as it stands
#   export NAME=value     the same as without the word
#
# Nothing is expanded and nothing is escaped. A line that is none of these, empty or a comment ends the program with
# its number; never with its text, which may be a secret.
load_dotenv() {
    local file=$1 number=0 line name value
    local assignment='^(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=(.*)$'
    local quoted="^[[:space:]]*(\"([^\"]*)\"|'([^']*)')[[:space:]]*(#.*)?\$"
    local misquoted="^[[:space:]]*[\"']"

    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line=$(trimmed "$line")
        case $line in '' | '#'*) continue ;; esac
        [[ $line =~ $assignment ]] || die "$file, line $number: not of the form NAME=value"
        name=${BASH_REMATCH[2]}
        value=${BASH_REMATCH[3]}
        if [[ $value =~ $quoted ]]; then
            value=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
        elif [[ $value =~ $misquoted ]]; then
            die "$file, line $number: $name has a quote that is not closed, or text after the closing one"
        else
            value=$(uncommented "$value")
        fi
        if [ -z "${!name+set}" ]; then export "$name=$value"; fi
    done <"$file"
}

# trimmed <text>: without the white space around it, a carriage return included.
trimmed() {
    local text=$1
    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# uncommented <text>: up to the first # that follows white space, and trimmed.
uncommented() {
    trimmed "${1%%[[:space:]]#*}"
}
