// SPDX-License-Identifier: GPL-2.0
/*
 * Which SPTEs stay valid across a conversion.
 */
#include <linux/kvm_host.h>

/*
 * With software protection an SPTE is the same for a private and a shared page,
 * and is valid as long as the page keeps its contents.  With hardware protection,
 * mappings of private and shared pages differ.
 */
bool kvm_arch_gmem_keeps_mappings(struct kvm *kvm, u64 policy)
{
	return policy == KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE &&
	       kvm->arch.vm_type == KVM_X86_SW_PROTECTED_VM;
}
