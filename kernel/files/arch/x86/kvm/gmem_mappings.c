// SPDX-License-Identifier: GPL-2.0
/*
 * Which SPTEs stay right over a conversion that preserves contents.
 */
#include <linux/kvm_host.h>

/*
 * Software protection has SPTEs that are the same for private and shared.  With
 * hardware a mapping has a kind.
 */
bool kvm_arch_gmem_preserve_keeps_mappings(struct kvm *kvm)
{
	return kvm->arch.vm_type == KVM_X86_SW_PROTECTED_VM;
}
