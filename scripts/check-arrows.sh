#!/usr/bin/env bash
# The arrows between the crates that docs/architecture.md promises.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
# forbid CRATE PATTERN: no normal or build dependency of CRATE, direct or not, matches PATTERN.
forbid() {
    local found
    found=$(cargo tree --locked --offline -p "$1" --edges normal,build --prefix none 2>/dev/null | grep -E "^($2) " | sort -u || true)
    if [ -n "$found" ]; then
        echo "arrows: $1 must not depend on: $found" >&2
        failed=1
    fi
}
[ -n "$(cargo tree --locked -p lumen-testkit --prefix none --depth 0)" ]
# The client is the second opinion: it shares nothing with the host.
forbid lumen-testkit 'lumen-(media|gamestream|net|fec|encode|host|web|config|input|audio|pipewire)'
# What tests use is in no product.
forbid lumen 'lumen-(lab|testkit)'
# The protocol is sans-IO.
forbid lumen-gamestream 'lumen-(media|net|host|web|config|encode)|tokio|socket2|mio'
forbid lumen-media 'lumen-(gamestream|net|host|web|encode|config|display|capture|compositor|input|fec)|tokio'
forbid lumen-config 'lumen-(media|gamestream|net|host)|tokio'
forbid lumen-fec 'lumen-(media|gamestream|net)'
# Stages do not know each other.
forbid lumen-encode 'lumen-(capture|display|compositor|gamestream|net|host)'
forbid lumen-audio 'lumen-(capture|display|compositor|encode|net|host)'
forbid lumen-net 'lumen-(gamestream|host|web|encode)'
forbid lumen-compositor 'lumen-(gamestream|net|host|encode)'

# Clocks, sockets and randomness have no place in the protocol crate.
if grep -rnE 'std::net::(Tcp|Udp)|Instant::now|SystemTime::now|getrandom|thread_rng' crates/gamestream/src; then
    echo "arrows: the protocol crate touches the outside world (lines above)" >&2
    failed=1
fi
# Unsafe code lives in sys modules only.
if grep -rnlE '\bunsafe (\{|fn|impl|extern)' --include='*.rs' crates bin lab | grep -vE '/sys(/|\.rs)' ; then
    echo "arrows: unsafe code outside a sys module (files above)" >&2
    failed=1
fi
[ $failed -eq 0 ] && echo "arrows: as promised"
exit $failed
