"""Completion in bash, where a word goes on behind `:`, `@` and `=`.

bash ends words at them (COMP_WORDBREAKS), so of `iqn.2026-11.org.example:di` it has `di` completed
alone. Here a word is what stands between blanks, and bash is given what follows its last break.
"""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, add_completion_class, split_arg_string

_SOURCE = r"""
%(complete_func)s() {
    local IFS=$'\n' line word head type value offer
    line=${COMP_LINE:0:COMP_POINT}
    word=${line##*[[:space:]]}
    head=${word%%%%"${word##*[:@=]}"}
    COMPREPLY=()
    for offer in $(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r type value <<< "$offer"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("${value#"$head"}")
                case $value in *[/@=]) compopt -o nospace ;; esac ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class WholeWords(BashComplete):
    source_template = _SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        return words[1:], incomplete


def register() -> None:
    add_completion_class(WholeWords)
