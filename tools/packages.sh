# What gifqa is built from, as Debian packages; sourced by tools/demo and tools/check.
# install_packages: installs what is missing (as root or through sudo), or prints the line that would.

packages="build-essential cmake ninja-build pkg-config
          libcmocka-dev libcurl4-openssl-dev libgif-dev libhdf5-dev libjansson-dev libpng-dev libssl-dev
          libutf8proc-dev libxxhash-dev libyaml-dev libzstd-dev wordnet-base zlib1g-dev"

missing_packages() {
    for p in $packages; do
        # either flavour of libcurl will do; they exclude each other
        case $p in libcurl4-*) pkg-config --exists libcurl 2>/dev/null && continue ;; esac
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
    done
}

install_packages() {
    command -v dpkg-query >/dev/null || { echo "not a Debian system: install the equivalents of: $packages" >&2; return 0; }
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root="sudo -n"
        else
            echo "missing packages; run:  sudo apt-get install -y $missing" >&2
            return 1
        fi
    fi
    echo "installing: $missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
