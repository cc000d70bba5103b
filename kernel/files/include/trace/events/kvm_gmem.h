/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_gmem

#if !defined(_TRACE_KVM_GMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_GMEM_H

#include <linux/mm.h>
#include <linux/tracepoint.h>

#ifndef _TRACE_KVM_GMEM_RECORD
#define _TRACE_KVM_GMEM_RECORD

/* One call of KVM_SET_MEMORY_ATTRIBUTES2 whose fields were valid. */
struct kvm_gmem_record {
	/* The thread that created the VM, and the file; 0 for a range of the VM. */
	pid_t pid;
	u64 ino;
	/* In bytes: in the file, or in guest physical addresses. */
	u64 start;
	u64 size;
	u64 attributes;
	u64 policy;
	/* Bytes of files; changes of the VM's own attributes are not counted. */
	u64 changed;
	/*
	 * 0 or -errno; if a page refused, where and in which file, or 0 if in
	 * none; and if it was held, its references.
	 */
	int result;
	u64 error_offset;
	u64 error_ino;
	unsigned int refs;
	unsigned int maps;
	/* 0 if tracing was off when the call began. */
	u64 took_ns;
	u64 locked_ns;
};

#endif

TRACE_EVENT(kvm_gmem_convert,
	TP_PROTO(const struct kvm_gmem_record *record),
	TP_ARGS(record),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, result)
		__field(u64, ino)
		__field(u64, start)
		__field(u64, size)
		__field(u64, attributes)
		__field(u64, policy)
		__field(u64, changed)
		__field(u64, error_offset)
		__field(u64, error_ino)
		__field(u32, refs)
		__field(u32, maps)
		__field(u32, pins)
		__field(u64, took_ns)
		__field(u64, locked_ns)
	),

	TP_fast_assign(
		__entry->vm = record->pid;
		__entry->result = record->result;
		__entry->ino = record->ino;
		__entry->start = record->start;
		__entry->size = record->size;
		__entry->attributes = record->attributes;
		__entry->policy = record->policy;
		__entry->changed = record->changed;
		__entry->error_offset = record->error_offset;
		__entry->error_ino = record->error_ino;
		__entry->refs = record->refs;
		__entry->maps = record->maps;
		__entry->pins = record->refs / GUP_PIN_COUNTING_BIAS;
		__entry->took_ns = record->took_ns;
		__entry->locked_ns = record->locked_ns;
	),

	TP_printk("vm=%d ino=%llu start=0x%llx size=0x%llx attributes=0x%llx policy=%llu changed=0x%llx result=%d error_offset=0x%llx error_ino=%llu refs=%u maps=%u pins=%u took_ns=%llu locked_ns=%llu",
		  __entry->vm, __entry->ino, __entry->start, __entry->size,
		  __entry->attributes, __entry->policy, __entry->changed, __entry->result,
		  __entry->error_offset, __entry->error_ino, __entry->refs, __entry->maps,
		  __entry->pins, __entry->took_ns, __entry->locked_ns)
);

#endif /* _TRACE_KVM_GMEM_H */

#include <trace/define_trace.h>
