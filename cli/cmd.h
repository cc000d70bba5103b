/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the verbs of gmem share: the table of verbs and a VM that is just big enough. */
#ifndef GMEM_CLI_H
#define GMEM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm_gmem.h>

#define PAGE 4096ul

enum exit_code {
	EXIT_OK = 0,		/* everything read as promised */
	EXIT_WRONG = 1,		/* something did not, or a call failed */
	EXIT_USAGE = 2,		/* the command line makes no sense */
	EXIT_UNSUPPORTED = 4,	/* this kernel does not offer it */
};

int cmd_probe(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* Print "gmem: ..." on standard error, with what errno says, and exit. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/*
 * A VM with one vCPU in real mode.  Its code lies in ordinary memory; VM_DATA is
 * where a guest_memfd is bound.  Everything below exits on failure.
 */
#define VM_DATA		0x10000ul
#define VM_DATA_PAGES	16		/* what the guest can address: 64 KiB */

struct vm {
	int kvm;
	int fd;
	int vcpu;
	struct kvm_run *run;
};

void vm_create(struct vm *vm, unsigned long type);
void vm_destroy(struct vm *vm);
int vm_capability(int fd, unsigned long capability);
int vm_guest_memfd(struct vm *vm, uint64_t size, uint64_t flags);
void vm_bind(struct vm *vm, unsigned int slot, uint64_t gpa, uint64_t size,
	     void *hva, int fd);

#define MIXED 0x100
/* The byte that a whole page holds, or MIXED. */
int host_read(const void *page);
int guest_read(struct vm *vm, unsigned int page);
void guest_write(struct vm *vm, unsigned int page, uint8_t byte);

/*
 * Convert [offset, offset + size) of the file @fd, bytes.  0 or -errno; after
 * -EAGAIN, -ENOMEM, -EOPNOTSUPP and -EHWPOISON @where is the page that refused.
 */
int convert(int fd, uint64_t offset, uint64_t size, bool to_private,
	    uint64_t policy, uint64_t *where);

const char *policy_name(uint64_t policy);

#endif
