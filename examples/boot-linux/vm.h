/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the files of boot-linux share. */
#ifndef BOOT_LINUX_VM_H
#define BOOT_LINUX_VM_H

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* The guest's addresses, which all fit into 32 bits. */
#define GICD_GPA	0x08000000ul
#define GICR_GPA	0x080a0000ul
#define UART_GPA	0x09000000ul
#define VIRTIO_GPA	0x0a000000ul
#define VIRTIO_SIZE	0x1000ul
#define RAM_GPA		0x40000000ul

/* How the VM ended; the exit status of the program. */
enum status {
	POWERED_OFF, SETUP_FAILED, GUEST_FAILED, VCPU_FAILED, CONVERSION_FAILED, DEVICE_FAILED,
	NOT_PROTECTED,
};

/*
 * The only VM.  Emulating a device or converting memory requires @lock.  So what guest_memory()
 * has found shared stays shared until the device is done with it.
 */
extern struct vm {
	pthread_mutex_t lock;
	int kvm, fd;
	bool is_protected;
	unsigned int nr_cpus, nr_devices;
	uint64_t ram_size;
	void *ram;
} vm;

/* Say why the program ends; unless it is SETUP_FAILED, the VM has run: report on it. */
__attribute__((noreturn, format(printf, 2, 3)))
void finish(enum status status, const char *format, ...);
/* Returns @r, unless it is the negative errno with which @what has failed. */
int check(int r, const char *what);
/* The result of a system call, as check() expects it. */
#define SYS(call)			({ int r_ = (call); r_ < 0 ? -errno : r_; })
#define IOCTL(fd, request, arg)		check(SYS(ioctl(fd, request, arg)), #request)

void memory_create(void);
/* Hand all RAM to the guest, with what has been loaded into it. */
void memory_make_private(void);
/* What gmem_handle_exit() returns, except failures. */
int memory_handle_exit(struct kvm_run *run, int error);
/* The host's address of [@gpa, +@size), which the guest must have shared. */
void *guest_memory(uint64_t gpa, uint64_t size);
/* Print what was converted, and read a private page: false if that can be done. */
bool memory_report(void);
/* The console needs no setup. */
void devices_add_disk(const char *path);
void devices_mmio(struct kvm_run *run);
/* Load everything that the guest starts with; returns the gpa of the device tree. */
uint64_t boot_load(const char *image, const char *initrd, const char *append);

#endif
