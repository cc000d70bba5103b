// SPDX-License-Identifier: GPL-2.0
/*
 * Which SPTEs stay right over a conversion.
 */
#include <linux/kvm_host.h>

/*
 * Software protection has SPTEs that are the same for private and shared, and they
 * are right as long as the page holds what it held.  With hardware a mapping has a
 * kind.
 */
bool kvm_arch_gmem_keeps_mappings(struct kvm *kvm, u64 policy)
{
	return policy == KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE &&
	       kvm->arch.vm_type == KVM_X86_SW_PROTECTED_VM;
}
