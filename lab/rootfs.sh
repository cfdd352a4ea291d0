#!/usr/bin/env bash
# Builds the root file system in which the desktop tests run: Debian testing, with every desktop that Lumen streams from.
#   lab/rootfs.sh          builds it unless it is there (needs root, mmdebstrap and about 4 GB)
#   lab/rootfs.sh --path   prints where it is, or would be
# Ends with status 77, saying why, on a machine that cannot build it. The cache is keyed by this file: change the recipe and
# the next call builds anew. To get newer packages with the same recipe, remove the folder.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=lab/env.sh
. "$top/lab/env.sh"

build=(
    build-essential pkg-config ca-certificates libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev
    libpipewire-0.3-dev libspa-0.2-dev libwayland-dev libxkbcommon-dev libpixman-1-dev
)
session=(dbus-daemon dbus-bin pipewire pipewire-bin wireplumber libglib2.0-bin)
desktops=(
    sway swaybg labwc weston mutter
    kwin-wayland kwin-common libkscreen-bin qt6-wayland
    gamescope hyprland xwayland
    xdg-desktop-portal xdg-desktop-portal-wlr xdg-desktop-portal-kde xdg-desktop-portal-gnome
    libgl1-mesa-dri libegl1 mesa-vulkan-drivers
)
# What the end-to-end tests run, or read results with.
tests=(foot fonts-dejavu-core xkb-data ffmpeg gtk-3-examples openssl procps iproute2 wayland-utils wlr-randr grim strace jq)
# The virtual machine: its host, its kernel, its first file system.
machine=(qemu-system-x86 linux-image-amd64 busybox-static cpio kmod udev xz-utils)
packages=("${build[@]}" "${session[@]}" "${desktops[@]}" "${tests[@]}" "${machine[@]}")

key=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
root=$lab_dir/root-$key
if [ "${1:-}" = --path ]; then
    echo "$root"
    exit
fi
[ ! -d "$root" ] || exit 0

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || leave_out "the root file system needs Debian or Ubuntu on amd64"
[ "$(id -u)" -eq 0 ] || leave_out "building the root file system needs root"
command -v mmdebstrap >/dev/null || leave_out "building the root file system needs the package mmdebstrap"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || leave_out "building the root file system needs the package debian-archive-keyring"

# The mirror that this machine uses; Ubuntu's has no Debian, so there the one that Debian's own tools take by default.
uris() {
    sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null || true
    sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*\).*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
}
mirror=$(uris | grep -E '/debian/?$' | head -n 1 || true)

mkdir -p "$lab_dir"
exec 9>"$lab_dir/lock"
flock 9
# Somebody else may have built it while we waited.
[ ! -d "$root" ] || exit 0
partial=$root.partial
# What an interrupted build left.
rm -rf --one-file-system "$partial"
echo "lab: building the root file system (${#packages[@]} packages and what they need, from ${mirror:-the default mirror})"
include=$(IFS=,; echo "${packages[*]}")
# A mirror that lags behind is as good as any for tests, hence no Check-Valid-Until.
if ! mmdebstrap --quiet --mode=root --variant=apt --components=main,contrib --keyring=$keyring \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/help/*' \
    --include="$include" testing "$partial" ${mirror:+"$mirror"} >"$lab_dir/rootfs.log" 2>&1; then
    tail -n 20 "$lab_dir/rootfs.log" >&2
    echo "lab: the root file system could not be built; the whole log is $lab_dir/rootfs.log" >&2
    rm -rf --one-file-system "$partial"
    exit 1
fi
# D-Bus wants an identity; a fixed one, since every session is as fresh as the other.
printf '6c756d656e2d6c61622d6d616368696e\n' >"$partial/etc/machine-id"
rm -rf "$partial"/var/cache/apt/*.bin "$partial"/var/lib/apt/lists/*
mv "$partial" "$root"
# What earlier recipes built.
for old in "$lab_dir"/root-* "$lab_dir"/initramfs-*; do
    [ "$old" = "$root" ] || rm -rf --one-file-system "$old"
done
echo "lab: $(du -sh "$root" | cut -f1) in $root"
