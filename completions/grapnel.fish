# Completion of grapnel's command line for fish. It holds no list of its own: grapnel knows what may
# stand where.
function __grapnel_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l current (commandline -ct)
    for line in ($program __complete $words "$current" 2>/dev/null)
        switch $line
            case ':file'
                __fish_complete_path "$current"
            case ':host'
                __fish_complete_user_at_hosts
            case ':command'
                __fish_complete_command
            case '*'
                echo $line
        end
    end
end
complete -c grapnel -f -a '(__grapnel_complete)'
