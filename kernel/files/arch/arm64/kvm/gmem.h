/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __ARM64_KVM_GMEM_H__
#define __ARM64_KVM_GMEM_H__

#include <linux/kvm_host.h>

/* Faults of protected guests. */
int pkvm_gmem_abort(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot, phys_addr_t ipa);

/* Hypercalls that EL2 cannot complete without the host. */
bool pkvm_gmem_is_asked(struct kvm_vcpu *vcpu);
int pkvm_gmem_ask(struct kvm_vcpu *vcpu);

/* Memory that goes away under a protected guest. */
void pkvm_gmem_take(struct kvm *kvm, struct kvm_gfn_range *range);
void pkvm_gmem_take_all(struct kvm *kvm);

#endif /* __ARM64_KVM_GMEM_H__ */
