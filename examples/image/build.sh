#!/usr/bin/env bash
# Builds the image of this directory as the OCI layout TARGET, from Debian's packages and AWS's runtime client:
#
#     examples/image/build.sh TARGET
#
# Needs mmdebstrap, buildah and pip, and no container registry. As root, or as a user who may have user namespaces.
set -euo pipefail
target=$(realpath -m "${1:?usage: build.sh TARGET}")
here=$(dirname "$(realpath "$0")")
suite=${SUITE:-bookworm}
python=${PYTHON_VERSION:-3.11} # of that suite
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The runtime client needs libstdc++6. Left out: what only a person at a machine needs.
mmdebstrap --quiet --variant=essential --include=python3,libstdc++6 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook='rm -rf "$1"/var/cache/* "$1"/var/lib/apt/lists/*' \
    "$suite" "$work/root.tar.gz"
"${PIP:-pip3}" install --quiet --disable-pip-version-check --target "$work/client" --python-version "$python" \
    --implementation cp --only-binary :all: awslambdaric
cp -r "$here/function" "$here/Containerfile" "$work"
chmod -R a+rX "$work/client" "$work/function"

buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
"${buildah[@]}" bud --quiet --isolation chroot --tag function "$work" >/dev/null
"${buildah[@]}" push --quiet function "oci:$target:latest"
"${buildah[@]}" rm --all >/dev/null
