/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_STAT_H__
#define __KVM_GMEM_STAT_H__

#include <linux/kvm_host.h>

/* What <linux/kvm_gmem_stats.h> adds to a VM's statistics.  Atomic: callers share no lock. */
#define kvm_gmem_stat_add(kvm, name, nr)	atomic64_add(nr, &(kvm)->stat.generic.gmem_##name)
#define kvm_gmem_stat_inc(kvm, name)		atomic64_inc(&(kvm)->stat.generic.gmem_##name)

#endif /* __KVM_GMEM_STAT_H__ */
