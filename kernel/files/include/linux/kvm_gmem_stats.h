/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __LINUX_KVM_GMEM_STATS_H
#define __LINUX_KVM_GMEM_STATS_H

#include <linux/types.h>

/*
 * What a VM counts for conversions in place: the calls that changed something, the
 * pages that changed, the calls that were refused, by reason, and the pages that a
 * fault has filled, which were new or had lost their contents to a conversion.
 */
#ifdef CONFIG_KVM_GMEM_CONVERT

#define KVM_GMEM_STATS(stat)		\
	stat(conversions_to_private)	\
	stat(conversions_to_shared)	\
	stat(pages_to_private)		\
	stat(pages_to_shared)		\
	stat(refused_held)		\
	stat(refused_poison)		\
	stat(refused_memory)		\
	stat(refused_policy)		\
	stat(refused_consent)		\
	stat(pages_filled)

#else

#define KVM_GMEM_STATS(stat)

#endif

#define KVM_GMEM_STAT_MEMBER(name)	atomic64_t gmem_##name;
#define KVM_GMEM_STAT_DESC(name)	STATS_DESC_COUNTER(VM_GENERIC, gmem_##name),

#endif /* __LINUX_KVM_GMEM_STATS_H */
