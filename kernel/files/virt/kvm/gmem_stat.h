/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_STAT_H__
#define __KVM_GMEM_STAT_H__

#include <linux/kvm_host.h>

/* A counter of <linux/kvm_gmem_stats.h> in the VM.  Atomic, as callers share no lock. */
#define kvm_gmem_stat(kvm, name)	(&(kvm)->stat.generic.gmem_##name)

#endif /* __KVM_GMEM_STAT_H__ */
