# SPDX-License-Identifier: GPL-2.0
# The settings of arm64 for the scripts and for make; vm/arch/x86_64.sh explains them.
# shellcheck shell=bash disable=SC2034

SUFFIX=-arm64

# An arm64 host has its own gcc under this name, too.
KERNEL_ARCH=arm64
CROSS_COMPILE=aarch64-linux-gnu-
IMAGE_TARGET=Image
IMAGE=arch/arm64/boot/Image
IMAGE_FILES=1421
FLAVOURS="release debug stock"

# pauth-impdef: the architected algorithm is slow to emulate.  sve, lpa2: pKVM would
# keep more state and other page tables, and what is tested here needs neither.
QEMU=qemu-system-aarch64
MACHINE=virt,virtualization=on,gic-version=3
CPU=max,pauth-impdef=on,lpa2=off,sve=off
CONSOLE=ttyAMA0
DEVICES=()
BOOT_ARGS=
SPARE_CPU=
MODES=(protected nvhe vhe)
# hVHE, which protected KVM would choose, does not work in this emulator
# (docs/testing.md).
declare -A MODE_ARGS=([protected]="kvm-arm.mode=protected arm64_sw.hvhe=0 id_aa64mmfr1.vh=0" [nvhe]=kvm-arm.mode=nvhe [vhe]="")
declare -A MODE_SAYS=([protected]='Protected [nh]VHE mode' [nvhe]='Hyp [nh]VHE mode' [vhe]='VHE mode')

ELF_MACHINE=AArch64
DEB_ARCH=arm64

ARCH_PACKAGES="qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
SYSROOT_PACKAGES="busybox-static libpng-dev zlib1g-dev libfdt-dev libstd-rust-dev"

OURS=(gmem_contents_test gmem_convert_test gmem_count_test gmem_deadline_test gmem_error_test
	gmem_fault_around_test gmem_fault_test gmem_fdinfo_test gmem_host_test gmem_mapping_test
	gmem_migration_test gmem_mixed_test gmem_model_test gmem_pkvm_consent_test gmem_pkvm_end_test
	gmem_pkvm_loss_test gmem_pkvm_secret_test gmem_pkvm_test gmem_range_test gmem_show_test
	gmem_trace_test gmem_transient_test gmem_userfaultfd_test gmem_vm_ioctl_test gmem_wait_test)
# The kernel's others do not fit protected KVM: kvm_page_table_test has 1 GiB taken from
# a guest page by page, without a pause, which is an RCU stall here; there are no types
# of VM for vm_types_test; arm64/page_fault_test counts two faults where it wants one.
THEIRS=(guest_memfd_test set_memory_region_test)
