# Sourced by ./run and ./check: makes sure that a cargo new enough is on the PATH.

# Prints the workspace's rust-version.
wanted_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -n 1; }

# ensure_rust TOP: returns with a good cargo on the PATH, or exits saying what to do.
ensure_rust() {
    local wanted have
    wanted=$(wanted_rust "$1")
    [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)
    if [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ]; then
        echo "rust: cargo $have"
        return
    fi
    if ! command -v rustup >/dev/null; then
        echo "rust: Lumen needs Rust $wanted or newer; ${have:-none} was found."
        local as_root=()
        [ "$(id -u)" -eq 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get update -qq
        # "apt-cache show" also knows packages that nothing can install.
        if apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
            ask "Install the distribution's rustup package and the stable toolchain?"
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rustup >/dev/null
        else
            ask "Install rustup with its own installer (sh.rustup.rs) into ${CARGO_HOME:-$HOME/.cargo}?"
            command -v curl >/dev/null ||
                "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                    curl ca-certificates >/dev/null
            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --no-modify-path
            PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        fi
    fi
    echo "rust: getting the stable toolchain"
    rustup toolchain install stable --no-self-update --profile minimal --component rustfmt --component clippy
    export RUSTUP_TOOLCHAIN=stable
}

# ask QUESTION: continues on yes; without a terminal, or with LUMEN_YES=1, continues and says so.
ask() {
    if [ "${LUMEN_YES:-}" = 1 ] || [ ! -t 0 ]; then
        echo "rust: $1 (no terminal to ask: going on)"
        return
    fi
    local answer
    read -r -p "rust: $1 [Y/n] " answer
    case "$answer" in
        "" | y | Y | yes) ;;
        *)
            echo "rust: stopped. Install Rust from https://rustup.rs and start again." >&2
            exit 1
            ;;
    esac
}
