# SPDX-License-Identifier: GPL-2.0
# The settings of x86_64 for the scripts and for make: data, no commands.
# vm/arch/arm64.sh has the same names.
# shellcheck shell=bash disable=SC2034

# For output: $O/kernel$SUFFIX-release, $O/cli$SUFFIX, ...
SUFFIX=

# The kernel: its name for the architecture, what builds it, what is built and how many files that is.
KERNEL_ARCH=x86
CROSS_COMPILE=
IMAGE_TARGET=bzImage
IMAGE=arch/x86/boot/bzImage
IMAGE_FILES=1776
FLAVOURS="release debug kcsan stock"

# The machine.  no_timer_check: a machine that gets no CPU for a while would fail
# that check.  Without an HPET the kernel's watchdog of clocks starts once the clock
# runs by itself; before that it may wait for another CPU for ever (docs/testing.md).
#
# A device that does DMA, behind an IOMMU; its mask lets it reach beyond 256 MiB.
# Interrupts are not remapped, as some boots fail with interrupt remapping in QEMU 7.2, so
# VFIO has to be told that unsafe interrupts are allowed.  It is Intel's, whatever the CPU
# is, as QEMU's amd-iommu does not report what it stops.
QEMU=qemu-system-x86_64
MACHINE=q35
CPU=max
CONSOLE=ttyS0
DEVICES=(-device "intel-iommu,intremap=off" -device "edu,addr=05.0,dma_mask=0xffffffffff")
BOOT_ARGS="no_timer_check hpet=disable vfio_iommu_type1.allow_unsafe_interrupts=1 iommufd.allow_unsafe_interrupts=1"
# QEMU's CPUs write to the first one's state without a lock whenever they restore an FPU
# state, and may bring back its GIF and its nested paging of a moment before
# (docs/testing.md).  Only CPUs that run guests suffer, so one additional CPU comes first,
# for the kernel alone.
SPARE_CPU=1
# The modes of KVM, the default first; the arguments and the message of each.
MODES=()
declare -A MODE_ARGS=() MODE_SAYS=()

# As readelf calls the programs that run there, and as Debian calls the architecture.
ELF_MACHINE='X86-64|80386'
DEB_ARCH=amd64

# Debian's packages: to build and run, and for the other architecture, in $SYSROOT.
ARCH_PACKAGES="qemu-system-x86 busybox-static libpng-dev zlib1g-dev"
SYSROOT_PACKAGES=

# The selftests that vm/selftests builds: ours, and the kernel's own.
OURS=(gmem_contents_test gmem_convert_test gmem_count_test gmem_deadline_test gmem_error_test
	gmem_fault_around_test gmem_fault_test gmem_fdinfo_test gmem_host_test gmem_mapping_test
	gmem_migration_test gmem_mixed_test gmem_model_test gmem_nested_test gmem_range_test
	gmem_show_test gmem_stress_test gmem_trace_test gmem_transient_test gmem_userfaultfd_test
	gmem_vfio_test gmem_vm_ioctl_test gmem_wait_test)
THEIRS=(guest_memfd_test x86/private_mem_conversions_test x86/private_mem_kvm_exits_test
	pre_fault_memory_test set_memory_region_test kvm_page_table_test
	vm_types_test x86/userspace_io_test)
