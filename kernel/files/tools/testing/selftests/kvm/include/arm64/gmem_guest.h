/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest with in-place memory on arm64 is a protected VM.  The host can read only what the
 * guest shares, so a request is passed in registers, and the answer is a store to an
 * address without memory.
 */
#ifndef SELFTEST_KVM_GMEM_GUEST_H
#define SELFTEST_KVM_GMEM_GUEST_H

#include <linux/arm-smccc.h>

struct gmem_vm;
struct kvm_vcpu;

/* Hosts with other page sizes are skipped. */
#define PAGE_SHIFT	12
#define PAGE_SIZE	BIT_ULL(PAGE_SHIFT)

/* NONE leaves what was there. */
static inline int after_none(int before)
{
	return before;
}

/* KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY. */
#define POLICIES	(TO_SHARED(ZERO) | TO_SHARED(PRESERVE) | TO_SHARED(NONE) | \
			 TO_PRIVATE(PRESERVE) | TO_PRIVATE(NONE))
/* For a page whose contents do not matter. */
#define ANY_TO_PRIVATE	NONE

/*
 * Private memory with a separate shared backing, KVM_SET_MEMORY_ATTRIBUTES, attributes
 * without a file.
 */
#define HAS_TWO_BACKINGS	false
/* KVM_PRE_FAULT_MEMORY. */
#define HAS_PRE_FAULT		false
/* Sharing needs the guest's consent, and the guest faults only on private pages. */
#define GUEST_DECIDES		true
/* If the file has lost a page, the guest gets another one; otherwise KVM_RUN fails. */
#define LOST_PAGES_COME_BACK	false
#define LOST_PAGE_ERRNO		EHWPOISON
/* Memslots can be deleted after the first run. */
#define SLOTS_CAN_GO		false

/* For the tests of protected VMs, below what all architectures have. */

#define MAX_GUEST_VCPUS		4

/* Documentation/virt/kvm/arm/hypercalls.rst; the headers in tools/ do not have them. */
#define MEM_SHARE		0xc6000003
#define MEM_UNSHARE		0xc6000004

/* What the vCPU does when it runs next; what it did before is abandoned. */
void guest_start(struct gmem_vm *g, struct kvm_vcpu *vcpu, void *program, u64 a, u64 b, u64 c);

/* In the guest: ends KVM_RUN with GUEST_ANSWERS. */
void guest_answer(u64 value);

/* How KVM_RUN ended; @value is the answer, or the address that it is about. */
enum guest_exit {
	GUEST_ANSWERS,
	/* The guest touches, or takes back, a shared page. */
	GUEST_WANTS_PRIVATE,
	/* The guest shares a private page. */
	GUEST_WANTS_SHARED,
	/* The guest touches a page that the file has lost. */
	GUEST_MISSES_PAGE,
};

enum guest_exit guest_run(struct kvm_vcpu *vcpu, u64 *value);

/* In the guest: MEM_SHARE or MEM_UNSHARE of a page, and its result. */
long guest_hypercall(u32 function, u64 page);

/* Starts repeating that hypercall, whose result is the answer. */
void guest_start_hypercall(struct gmem_vm *g, u32 function, u64 page);

#endif /* SELFTEST_KVM_GMEM_GUEST_H */
