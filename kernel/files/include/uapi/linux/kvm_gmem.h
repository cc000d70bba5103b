/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * In-place conversion of guest_memfd memory between private and shared.
 *
 * This header and <linux/kvm.h> are all that user space needs.
 * Documentation/virt/kvm/api.rst explains each field and errno.
 */
#ifndef __LINUX_KVM_GMEM_H
#define __LINUX_KVM_GMEM_H

#include <linux/kvm.h>
#include <linux/types.h>

/*
 * KVM_CHECK_EXTENSION returns the attributes that can be set in place, as a
 * mask of KVM_MEMORY_ATTRIBUTE_*, or 0.  The number is outside the sequence
 * that mainline uses, as the numbers of this feature are not settled there.
 */
#define KVM_CAP_MEMORY_ATTRIBUTES2			0x676d0001

/*
 * KVM_CHECK_EXTENSION returns the content policies that a conversion may
 * request: KVM_MEMORY_ATTRIBUTES2_TO_SHARED(policy) and _TO_PRIVATE(policy) are
 * the bits.
 */
#define KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY	0x676d0002

#define KVM_MEMORY_ATTRIBUTES2_TO_SHARED(policy)	(1U << (policy))
#define KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(policy)	(1U << (8 + (policy)))

/* Sizes and offsets are in bytes and multiples of the page size. */
struct kvm_memory_attributes2 {
	/* in */
	union {
		__u64 address;	/* guest physical, for the VM ioctl */
		__u64 offset;	/* in the file, for the guest_memfd ioctl */
	};
	__u64 size;
	__u64 attributes;	/* KVM_MEMORY_ATTRIBUTE_PRIVATE or 0 */
	__u64 flags;		/* KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_* */
	/* out, written on failure only */
	__u64 error_offset;	/* lowest page that refused, like offset or address */
	/* must be zero */
	__u64 reserved[11];
};

/* What is read after the conversion, by the side that could not read before. */
#define KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO		0ULL
#define KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE	1ULL
#define KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE		2ULL
#define KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_MASK		3ULL

#define KVM_SET_MEMORY_ATTRIBUTES2	_IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)

/* KVM_CHECK_EXTENSION returns 1 if KVM_GET_MEMORY_ATTRIBUTES2 works on files in place. */
#define KVM_CAP_GET_MEMORY_ATTRIBUTES2			0x676d0003

/*
 * Which attributes the page at @offset of the file has, and how many bytes from there on
 * have the same.  During conversions @size can be less than possible, but never zero.
 */
struct kvm_memory_attributes2_range {
	/* in */
	__u64 offset;
	/* out */
	__u64 size;
	__u64 attributes;	/* KVM_MEMORY_ATTRIBUTE_PRIVATE or 0 */
	/* must be zero */
	__u64 reserved[5];
};

/* Outside KVM's sequence of numbers, for the same reason as the capabilities. */
#define KVM_GET_MEMORY_ATTRIBUTES2	_IOWR(KVMIO, 0xf0, struct kvm_memory_attributes2_range)

#endif /* __LINUX_KVM_GMEM_H */
