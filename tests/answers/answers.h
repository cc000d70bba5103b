/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A VM with one memory, which each answer creates or finds, and what a process may do with
 * it. Unexpected failures end the process.
 */
#ifndef TESTS_ANSWERS_H
#define TESTS_ANSWERS_H

#include "../../examples/vm.h"
#include "../look.h"
#include "../tap.h"
#include "kvm_abi.h"

#define PAGES	16ul
#define SLOT	1

extern struct vm vm;
extern struct gmem_vm *memories;
extern struct gmem *ram;
extern char *hva;

void make_vm(enum gmem_mechanism mechanism, uint64_t size);
int bind_with(uint32_t slot_flags);
int to_private(uint64_t page, uint64_t nr);
/* Pages 0 to 7 are shared and read 's', the others private and held 'p'. */
void make_half_private(void);

/* The calls themselves, which the library would not make in such a process. */
int convert(int fd);
int punch(int fd, uint64_t page);

/*
 * The answers, each in the file of its name; these continue with the VM of the previous
 * one.
 */
void processes(void);
int after_exec(char **argv);
void slots(void);
void live_update(void);

/* Each of these makes its own. */
void balloon(enum gmem_mechanism mechanism);
void emulator(void);
void core_dumps(void);
void numa(void);
void seccomp(void);

#endif
