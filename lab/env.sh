# Sourced by the lab's scripts: where things are.
#   LUMEN_LAB_DIR   the root file system, its build folder and the virtual machine's files (default: target/lab)

# Set by whoever sources this: the repository.
: "${top:?}"
lab_dir=${LUMEN_LAB_DIR:-$top/target/lab}
# What cargo builds inside: other libraries than outside, so another folder.
lab_build=$lab_dir/build
# Shared with the virtual machine for writing, at the same path.
lab_out=$lab_dir/out

# What is missing on this machine, as opposed to what fails: scripts end with this status, ./check says "left out".
left_out=77

# leave_out REASON
leave_out() {
    echo "lab: left out: $1" >&2
    exit $left_out
}

# become_root SCRIPT [ARGUMENT…]: returns when we are root, else runs the script again through sudo if that asks nothing.
become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    sudo -n true 2>/dev/null || leave_out "the lab needs root (or sudo without a password)"
    local variables=()
    local variable
    while IFS= read -r -d '' variable; do
        case $variable in
            HOME=* | PATH=* | TERM=* | CARGO_* | RUST* | LUMEN_*) variables+=("$variable") ;;
        esac
    done < <(env -0)
    exec sudo -n env "${variables[@]}" "$@"
}
