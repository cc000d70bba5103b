/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest with in-place memory on x86 is a KVM_X86_SW_PROTECTED_VM, the testing vehicle,
 * which accepts all policies and never asks its guest.
 */
#ifndef SELFTEST_KVM_GMEM_GUEST_H
#define SELFTEST_KVM_GMEM_GUEST_H

/* What NONE leaves, and what no test ever fills a whole page with. */
#define NONE_BYTE	0xab

static inline int after_none(int before)
{
	return NONE_BYTE;
}

/* KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY. */
#define POLICIES	(TO_SHARED(ZERO) | TO_SHARED(PRESERVE) | TO_SHARED(NONE) | \
			 TO_PRIVATE(ZERO) | TO_PRIVATE(PRESERVE) | TO_PRIVATE(NONE))
/* For a page whose contents do not matter. */
#define ANY_TO_PRIVATE	ZERO

/*
 * Private memory with a separate shared backing, KVM_SET_MEMORY_ATTRIBUTES, attributes
 * without a file.
 */
#define HAS_TWO_BACKINGS	true
/* KVM_PRE_FAULT_MEMORY. */
#define HAS_PRE_FAULT		true
/* Sharing needs the guest's consent, and the guest faults only on private pages. */
#define GUEST_DECIDES		false
/* If the file has lost a page, the guest gets another one; otherwise KVM_RUN fails. */
#define LOST_PAGES_COME_BACK	true
#define LOST_PAGE_ERRNO		EFAULT
/* Memslots can be deleted after the first run. */
#define SLOTS_CAN_GO		true

#endif /* SELFTEST_KVM_GMEM_GUEST_H */
