/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the verbs of gmem share: the table of verbs and a VM that is just big enough. */
#ifndef GMEM_CMD_H
#define GMEM_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../common/die.h"
#include "gmem.h"

#define PAGE 4096ul

int cmd_probe(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_who(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/*
 * A VM with one vCPU and private memory; guest.h has its type.  VM_DATA is where the
 * guest looks for pages, which are numbered from there.  Everything below exits on
 * failure.
 */
#define VM_DATA		0x10000ul
#define VM_DATA_SLOT	1

struct vm {
	int kvm;
	int fd;
	int vcpu;
	struct kvm_run *run;
	struct gmem_vm *gmem;
	/* Where the guest's code is, if it has a memory of its own. */
	struct gmem *code;
};

/*
 * Make a VM that uses @mechanism, or the best one if that is GMEM_MECHANISM_NONE.
 * Returns NULL, or what this kernel lacks for it, in a static buffer.
 */
const char *vm_create(struct vm *vm, enum gmem_mechanism mechanism);
/* After the memories. */
void vm_destroy(struct vm *vm);

/* A memory, bound at @gpa as @slot if @gpa is not GMEM_NO_GPA, and mapped at *@hva. */
struct gmem *vm_memory(struct vm *vm, uint64_t size, uint64_t attributes, uint32_t slot,
		       uint64_t gpa, uint8_t **hva);

#define MIXED 0x100
/* The byte that a whole page holds, or MIXED. */
int host_read(const void *page);
/* The same; the guest's requests go through gmem_handle_exit() with @opts. */
int guest_read_asking(struct vm *vm, unsigned int page, const struct gmem_convert_opts *opts);
int guest_read(struct vm *vm, unsigned int page);
void guest_write(struct vm *vm, unsigned int page, uint8_t byte);

#define SIGBUS_READ (-1)
/* The same as host_read(), or SIGBUS_READ. */
int try_host_read(const void *page);

/*
 * Let the guest ask for a conversion with its hypercall.  The exits go through
 * gmem_handle_exit() with @opts.  Returns 0 or -errno: what a hypercall returned to the
 * guest, or, if the guest repeats it until the VMM has converted, why it waits.  Then only
 * the same request may follow, for one page.
 */
int guest_ask(struct vm *vm, uint64_t gpa, uint64_t nr_pages, bool to_private,
	      const struct gmem_convert_opts *opts);

/*
 * Make the guest agree that the pages are shared, now or when they are converted, if it
 * has a say in it.  Attributes and contents stay.
 */
void guest_agree(struct vm *vm, unsigned int page, unsigned int nr_pages);

/* gmem_convert() with one policy for both directions. */
int convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
	    enum gmem_policy policy, struct gmem_result *result);

/* Hold the page at @hva in a pipe, until both ends are closed. */
void pin_in_pipe(void *hva, int pipefd[2]);
void unpin_pipe(int pipefd[2]);

/* "ZERO,NONE" for the bits of GMEM_POLICY_BIT(), "-" for none; in a static buffer. */
const char *policy_list(uint32_t policies);

#endif
