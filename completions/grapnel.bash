# Completion of grapnel's command line for bash. It holds no list of its own: grapnel knows what may
# stand where.
_grapnel() {
    local current=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT} words word
    COMPREPLY=()
    # COMP_WORDS takes user@host and --name=value apart; grapnel wants them whole.
    read -ra words <<<"$line"
    case $line in
    *[[:space:]]) words+=('') ;;
    esac
    [[ $current == '=' || $current == '@' || $current == ':' ]] && current=
    while IFS=$'\t' read -r word _; do
        case $word in
        :file)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        :host)
            if declare -F _known_hosts_real >/dev/null; then
                _known_hosts_real -- "$current"
            else
                mapfile -t COMPREPLY < <(compgen -A hostname -- "$current")
            fi
            ;;
        :command) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
        *) COMPREPLY+=("$word") ;;
        esac
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _grapnel grapnel
