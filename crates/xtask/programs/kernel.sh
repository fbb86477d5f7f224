# kernel.sh FOLDER [PROGRAM...]: boots Linux 5.10, of Debian's older suite, and runs static test
# programs there; without any it only gets that kernel.
set -euo pipefail
folder=$1/kernel
shift
mkdir -p "$folder"
cd "$folder"

if [ ! -e vmlinuz ]; then
  # That suite from where the machine gets its own.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
    'Component: main' | grep '/debian/*$' | sort -u)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >list
  mkdir -p lists/partial
  apt() { "apt-$1" -qq -o Dir::Etc::SourceList="$folder/list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder" "${@:2}"; }
  apt get update
  package=$(apt cache search --names-only '^linux-image-5.10.*-cloud-amd64$' | awk '{print $1}' |
    sort -V | tail -1)
  apt get download "$package"
  dpkg -x linux-image-*.deb unpacked
  mv unpacked/boot/vmlinuz-* vmlinuz
  rm -r unpacked linux-image-*.deb
fi
[ $# -gt 0 ] || exit 0

rm -rf root
mkdir -p root/{bin,dev,proc,sys,tmp}
cp "$(command -v busybox)" root/bin/busybox
{
  echo '#!/bin/busybox sh'
  echo 'export PATH=/bin RUST_BACKTRACE=0 RUST_TEST_THREADS=1'
  echo '/bin/busybox --install /bin'
  echo 'mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys'
  echo 'mkdir -p /dev/pts /dev/shm; mount -t devpts none /dev/pts; mount -t tmpfs none /tmp'
  echo 'ln -sf /proc/self/fd /dev/fd; ip link set lo up; uname -r'
  # Files that the tests open.
  echo 'mkdir -p /tmp/src; cd /tmp; echo >Cargo.toml; echo >src/lib.rs'
} >root/init
for program; do
  name=$(basename "$program")
  cp "$program" root/bin/
  # The other backends make no call that depends on this kernel's age.
  echo "/bin/$name --skip ::poll:: --skip ::simulated:: && echo PASSED" >>root/init
done
echo 'poweroff -f' >>root/init
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet | gzip -1) >initramfs

timeout 600 qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp 2 -m 3072 -nographic -no-reboot \
  -kernel vmlinuz -initrd initramfs -append 'console=ttyS0 quiet panic=-1' </dev/null | tee console
[ "$(grep -c '^PASSED' console)" = $# ]
