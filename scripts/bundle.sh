#!/bin/sh
# Usage: bundle.sh BUILD FOLDER: packs what BUILD holds into FOLDER/qloom-VERSION-SYSTEM.tar.gz: program, plugins, the shared libraries
# that they need (but for the C library's own, CUDA's and the driver's) with their licences, checks, examples, pipelines, documents.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
folder=$(cd "$2" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$("$build/bin/qloom" --version | awk '{ print $NF }')
name=qloom-$version-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
root=$work/$name

mkdir -p "$root/licences" "$root/scripts" "$root/docs"
cmake --install "$build" --prefix "$root" --strip >/dev/null
cmake --install "$build" --prefix "$root" --strip --component checks >/dev/null
rm -rf "$root/include" "$root/lib/cmake" "$root/lib/pkgconfig"

# libraries FILE...: path of every library that the files need, one a line
libraries() {
    ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u
}
# licence FILE: the copyright notice of the package that a library comes from
licence() {
    real=$(readlink -f "$1")
    package=$(dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null || true)
    package=${package%%:*}
    [ -z "$package" ] || cp "/usr/share/doc/$package/copyright" "$root/licences/$package"
}
blas=$(ldconfig -p | awk '$1 == "libopenblas.so.0" { print $NF; exit }')
for library in "$blas" $(libraries "$blas" "$root"/bin/* "$root"/checks/* "$root"/lib/*.so* "$root"/lib/qloom/*.so); do
    base=$(basename "$library")
    case $base in
    libqloom.so* | ld-linux* | libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | libresolv.so* | libcuda*) ;;
    *)
        cp -L "$library" "$root/lib/$base"
        strip --strip-unneeded "$root/lib/$base"
        licence "$library"
        ;;
    esac
done

cp -r "$source/examples" "$source/pipelines" "$source/README.md" "$source/LICENSE" "$source/THIRD-PARTY-NOTICES" "$root/"
rm -rf "$root/share"
cp "$source"/docs/*.md "$root/docs/"
cp "$source"/scripts/gpu-*.sh "$root/scripts/"
cp "$source/bench/gptq_torch.py" "$root/checks/"

tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9 >"$folder/$name.tar.gz.new"
mv "$folder/$name.tar.gz.new" "$folder/$name.tar.gz"
echo "$folder/$name.tar.gz: $(du -m "$folder/$name.tar.gz" | cut -f 1) MB"
