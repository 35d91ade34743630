# shellcheck shell=bash
# Reads `.env`; other scripts source this file. `.env` itself is never sourced, because the shell would expand a `$` or a
# backquote in a password.

# load_dotenv <file>: exports the file's variables. A variable that is already in the environment keeps its value, even
# if that value is empty.
#
#   NAME=value            surrounding spaces are removed; a # after a space starts a comment, any other # is kept
#   NAME="value"          or 'value': the text between the quotes, unchanged
#   export NAME=value     as `NAME=value`
#
# Values are not expanded or unescaped. Comments and empty lines are skipped. Any other line ends the program with an
# error. The error contains the number of the line but not its text, because the line can contain a secret.
load_dotenv() {
    local file=$1 number=0 line name value
    local assignment='^(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=(.*)$'
    local quoted="^[[:space:]]*(\"([^\"]*)\"|'([^']*)')[[:space:]]*(#.*)?\$"
    local misquoted="^[[:space:]]*[\"']"

    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line=$(trimmed "$line")
        case $line in '' | '#'*) continue ;; esac
        [[ $line =~ $assignment ]] || die "$file, line $number: expected NAME=value"
        name=${BASH_REMATCH[2]}
        value=${BASH_REMATCH[3]}
        if [[ $value =~ $quoted ]]; then
            value=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
        elif [[ $value =~ $misquoted ]]; then
            die "$file, line $number: the value of $name has an unclosed quote, or text after the closing quote"
        else
            value=$(uncommented "$value")
        fi
        if [ -z "${!name+set}" ]; then export "$name=$value"; fi
    done <"$file"
}

# trimmed <text>: the text without surrounding white space, including a carriage return.
trimmed() {
    local text=$1
    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# uncommented <text>: the text before the first # that follows white space, trimmed.
uncommented() {
    trimmed "${1%%[[:space:]]#*}"
}
