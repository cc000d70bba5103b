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
 * visible that NONE promises nothing.  With hardware protection, memory changes
 * its key: no contents survive, and a guest does not trust zeros that the host
 * provides.
 */
static const struct gmem_vm_type {
	u32 policies;
	u8 none_byte;
} vm_types[] = {
	[KVM_X86_SW_PROTECTED_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(PRESERVE) | TO_SHARED(NONE) |
			    TO_PRIVATE(ZERO) | TO_PRIVATE(PRESERVE) | TO_PRIVATE(NONE),
		.none_byte = 0xab,
	},
	[KVM_X86_SNP_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(NONE) | TO_PRIVATE(NONE),
	},
	[KVM_X86_TDX_VM] = {
		.policies = TO_SHARED(ZERO) | TO_SHARED(NONE) | TO_PRIVATE(NONE),
	},
};

static const struct gmem_vm_type *gmem_policies_vm_type(struct kvm *kvm)
{
	static const struct gmem_vm_type other;

	return kvm->arch.vm_type < ARRAY_SIZE(vm_types) ?
	       &vm_types[kvm->arch.vm_type] : &other;
}

u32 kvm_arch_gmem_content_policies(struct kvm *kvm)
{
	u32 policies = 0;
	int i;

	if (kvm)
		return gmem_policies_vm_type(kvm)->policies;

	for (i = 0; i < ARRAY_SIZE(vm_types); i++) {
		if (kvm_caps.supported_vm_types & BIT(i))
			policies |= vm_types[i].policies;
	}

	return policies;
}

u8 kvm_arch_gmem_none_byte(struct kvm *kvm)
{
	return gmem_policies_vm_type(kvm)->none_byte;
}
