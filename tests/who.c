// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: a page that is held in each of the ways that there are, and what
 * "gmem who" says of it.  TAP.  The command lies beside this program.
 */
#include <linux/io_uring.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../examples/edu.h"
#include "../examples/vm.h"

#define PAGES	8ul
/* What is asked for. */
#define HELD	5ul

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram;
static char *hva;
static int number, failed;

static void result(bool ok, const char *what)
{
	printf("%sok %d - who.%s\n", ok ? "" : "not ", ++number, what);
	failed += !ok;
}

/* Does it name this process, with @kind and @sure?  Neither for nobody at all. */
static bool who_says(const char *kind, const char *sure)
{
	char command[128], expected[128], line[1024];
	bool found = false, any = false;
	FILE *f;

	snprintf(command, sizeof(command), "./gmem who --wait 0 %d:%d 0x%lx --json", getpid(),
		 gmem_private_fd(ram), HELD * PAGE);
	snprintf(expected, sizeof(expected), "\"pid\": %d, \"name\": \"who\", \"kind\": \"%s\", \"sure\": \"%s\"",
		 getpid(), kind ? kind : "", sure ? sure : "");
	f = popen(command, "r");
	check(f ? 0 : -errno, "popen");
	while (fgets(line, sizeof(line), f)) {
		printf("# %s", line);
		any |= strstr(line, "\"kind\"") != NULL;
		found |= strstr(line, expected) != NULL;
	}
	check(pclose(f) ? EPROTO : 0, "gmem who");
	return kind ? found : !any;
}

/* Is the page what keeps the memory from going private? */
static bool is_held(void)
{
	struct gmem_result where = GMEM_INIT(struct gmem_result);
	int r = gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, &where);

	if (r)
		return r == -EAGAIN && where.where == HELD * PAGE;
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	return false;
}

static void make_memory(void)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	void *mem;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, &mem), "gmem_map");
	hva = mem;
}

static void nobody(void)
{
	result(!is_held() && who_says(NULL, NULL), "nobody_holds_what_nobody_touched");
}

static void mapping(void)
{
	hva[HELD * PAGE] = 'm';
	result(who_says("mapped", "known") && !is_held(), "mapping_is_named_and_no_obstacle");
}

static void pipe_with_page(void)
{
	struct iovec iov = { .iov_base = hva + HELD * PAGE, .iov_len = PAGE };
	int ends[2];

	hva[HELD * PAGE] = 'p';
	check(sys(pipe(ends)), "pipe");
	check(vmsplice(ends[1], &iov, 1, 0) == (ssize_t)PAGE ? 0 : -errno, "vmsplice");
	result(is_held() && who_says("pipe", "likely"), "pipe_is_likely");
	close(ends[0]);
	close(ends[1]);
	result(!is_held() && !who_says("pipe", "likely"), "pipe_that_is_closed_is_not_named");
}

static void registered_buffer(void)
{
	struct iovec iov = { .iov_base = hva + HELD * PAGE, .iov_len = 3 * PAGE };
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 1, &params);

	check(sys(ring), "io_uring_setup");
	check(sys(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)),
	      "IORING_REGISTER_BUFFERS");
	result(is_held() && who_says("io_uring", "likely"), "registered_buffer_is_likely");
	close(ring);
}

static void vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	check(sys(fd), "/dev/vhost-net");
	hva[HELD * PAGE] = 'v';
	result(who_says("vhost", "guess"), "vhost_is_a_guess");
	close(fd);
}

/* An IOMMU that has only the one page, as only that is shared. */
static void iommu(const char *kind, const char *bdf,
		  int (*open_device)(const char *bdf, struct gmem_iommu_opts *opts))
{
	struct gmem_iommu_opts opts = GMEM_INIT(struct gmem_iommu_opts);
	struct gmem_iommu *mapped;
	char name[64];
	int status, r;
	pid_t child;

	/* What was opened ends with the process. */
	fflush(stdout);
	child = fork();
	if (child) {
		waitpid(child, &status, 0);
		number += 2;
		failed += WIFEXITED(status) ? WEXITSTATUS(status) : 2;
		return;
	}

	failed = 0;
	make_memory();
	check(gmem_convert(ram, 0, HELD * PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE), "gmem_bind");
	r = open_device(bdf, &opts);
	check(r < 0 ? r : 0, bdf);
	check(gmem_add_iommu(memories, &opts, &mapped), "gmem_add_iommu");
	snprintf(name, sizeof(name), "%s_is_likely", kind);
	result(who_says(kind, "likely"), name);
	check(gmem_remove_iommu(mapped), "gmem_remove_iommu");
	snprintf(name, sizeof(name), "%s_that_has_let_go_is_not_named", kind);
	result(!who_says(kind, "likely") && !is_held(), name);
	fflush(stdout);
	_exit(failed);
}

int main(void)
{
	char bdf[256];

	printf("TAP version 13\n1..10\n");
	check(edu_find(bdf, sizeof(bdf)), "QEMU's edu device");
	check(edu_give_to_vfio(bdf), "vfio-pci");

	make_memory();
	nobody();
	mapping();
	pipe_with_page();
	registered_buffer();
	vhost();
	iommu("vfio", bdf, edu_open_type1);
	iommu("iommufd", bdf, edu_open_iommufd);

	return failed ? 1 : 0;
}
