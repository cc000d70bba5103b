// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* fork, execve and other processes. */
#include <fcntl.h>
#include <signal.h>

#include "answers.h"

static bool is_refused(void)
{
	return convert(gmem_private_fd(ram)) == -EIO &&
	       sys(ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)) == -EIO;
}

static bool has_shared_pages(void)
{
	const char *private = hva + PAGES / 2 * PAGE;

	return look(hva) == 's' && look(private - 1) == 's' && look(private) == -SIGBUS &&
	       signal_address == private;
}

static bool has_no_mapping(void)
{
	return look(hva) == -SIGSEGV;
}

static bool uses_the_file(void)
{
	int fd = gmem_shared_fd(ram);
	char *mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct kvm_memory_attributes2 attrs = { .offset = PAGES / 2 * PAGE, .size = PAGE };

	return mem != MAP_FAILED && look(mem + PAGE) == 's' &&
	       look(mem + PAGES / 2 * PAGE) == -SIGBUS && signal_address == mem + PAGES / 2 * PAGE &&
	       !ioctl(fd, KVM_GET_MEMORY_ATTRIBUTES2, &attrs) && attrs.attributes == GMEM_PRIVATE;
}

static bool punches_what_is_shared(void)
{
	int fd = gmem_shared_fd(ram);

	return !punch(fd, 2) && look(hva + 2 * PAGE) == 0 && punch(fd, PAGES - 1) == -EPERM;
}

/* After execve(): the descriptors that were kept, and one that was not. */
int after_exec(char **argv)
{
	int vm_fd = atoi(argv[2]), file = atoi(argv[3]), closed = atoi(argv[4]);

	return sys(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)) == -EIO &&
	       convert(file) == -EIO && fcntl(closed, F_GETFD) < 0 && errno == EBADF ? 0 : 1;
}

/* In the process that created the VM. */
static bool exec_loses_the_vm(void)
{
	char vm_fd[16], file[16], closed[16];

	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	snprintf(vm_fd, sizeof(vm_fd), "%d", fcntl(vm.fd, F_DUPFD, 100));
	snprintf(file, sizeof(file), "%d", fcntl(gmem_private_fd(ram), F_DUPFD, 100));
	snprintf(closed, sizeof(closed), "%d", gmem_private_fd(ram));
	execl("/proc/self/exe", "answers", "after-exec", vm_fd, file, closed, NULL);
	return false;
}

void processes(void)
{
	make_half_private();
	result(in_child(is_refused), "fork.calls_of_the_vm_and_conversions_are_eio");
	result(in_child(has_shared_pages), "fork.child_reads_shared_pages_and_gets_sigbus_at_private_ones");
	result(in_child(exec_loses_the_vm), "exec.kept_descriptors_are_eio_and_the_librarys_are_closed");
	result(in_child(uses_the_file), "back_end.maps_shared_pages_and_sees_the_states");
	result(in_child(punches_what_is_shared), "back_end.punches_out_shared_pages_only");
	check(sys(madvise(hva, PAGES * PAGE, MADV_DONTFORK)), "MADV_DONTFORK");
	result(in_child(has_no_mapping), "fork.dontfork_keeps_the_mapping_from_the_child");
	check(sys(madvise(hva, PAGES * PAGE, MADV_DOFORK)), "MADV_DOFORK");
}
