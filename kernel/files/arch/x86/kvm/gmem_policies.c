// SPDX-License-Identifier: GPL-2.0
/*
 * What each type of VM can promise about the contents of converted memory.
 */
#include <linux/bits.h>
#include <linux/kvm_host.h>

#include "x86.h"

#define TO_SHARED(name)								\
	KVM_MEMORY_ATTRIBUTES2_TO_SHARED(KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_##name)
#define TO_PRIVATE(name)							\
	KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_##name)

/*
 * Software protection is a testing vehicle: it supports everything, and makes
 * visible that NONE promises nothing.  Its SPTEs are the same for private and
 * shared: one that maps the page goes on being right while the contents stay.
 * With hardware, memory changes its key: no
 * contents survive, and a guest does not trust zeros that the host provides.
 */
static const struct {
	u32 policies;
	u8 none_byte;
	bool preserve_keeps_mappings;
} vm_types[] = {
	[KVM_X86_SW_PROTECTED_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(PRESERVE) | TO_SHARED(NONE) |
			    TO_PRIVATE(ZERO) | TO_PRIVATE(PRESERVE) | TO_PRIVATE(NONE),
		.none_byte = 0xab,
		.preserve_keeps_mappings = true,
	},
	[KVM_X86_SNP_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(NONE) | TO_PRIVATE(NONE),
	},
	[KVM_X86_TDX_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(NONE) | TO_PRIVATE(NONE),
	},
};

u32 kvm_arch_gmem_content_policies(struct kvm *kvm)
{
	u32 policies = 0;
	int i;

	if (kvm)
		return kvm->arch.vm_type < ARRAY_SIZE(vm_types) ?
		       vm_types[kvm->arch.vm_type].policies : 0;

	for (i = 0; i < ARRAY_SIZE(vm_types); i++) {
		if (kvm_caps.supported_vm_types & BIT(i))
			policies |= vm_types[i].policies;
	}

	return policies;
}

u8 kvm_arch_gmem_none_byte(struct kvm *kvm)
{
	return kvm->arch.vm_type < ARRAY_SIZE(vm_types) ?
	       vm_types[kvm->arch.vm_type].none_byte : 0;
}

bool kvm_arch_gmem_preserve_keeps_mappings(struct kvm *kvm)
{
	return kvm->arch.vm_type < ARRAY_SIZE(vm_types) &&
	       vm_types[kvm->arch.vm_type].preserve_keeps_mappings;
}
