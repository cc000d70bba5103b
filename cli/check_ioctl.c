// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check: the ioctl itself, as the library would not call it. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm_gmem.h>

#include "check.h"

static void only_the_owner_converts(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EIO);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EXPECT(status, 0);
	expect_attributes(0, PAGE, GMEM_SHARED);
}

/* The ioctl itself, which the library would not call like this. */
static int raw(struct kvm_memory_attributes2 *attrs)
{
	return ioctl(gmem_private_fd(gmem), KVM_SET_MEMORY_ATTRIBUTES2, attrs) ? -errno : 0;
}

static void ioctl_refuses_what_it_does_not_know(void)
{
	struct kvm_memory_attributes2 attrs;
	size_t i;

	for (i = 0; i < sizeof(attrs.reserved) / sizeof(attrs.reserved[0]); i++) {
		attrs = (struct kvm_memory_attributes2){ .size = PAGE, .attributes = GMEM_PRIVATE };
		attrs.reserved[i] = 1;
		EXPECT(raw(&attrs), -EINVAL);
	}
	for (i = 3; i < 64; i++) {
		attrs = (struct kvm_memory_attributes2){
			.size = PAGE, .attributes = GMEM_PRIVATE, .flags = i == 3 ? 3 : 1ull << (i - 1),
		};
		EXPECT(raw(&attrs), attrs.flags < 3 ? 0 : -EINVAL);
	}
	for (i = 0; i < 64; i++) {
		attrs = (struct kvm_memory_attributes2){ .size = PAGE, .attributes = 1ull << i };
		if (attrs.attributes != GMEM_PRIVATE)
			EXPECT(raw(&attrs), -EINVAL);
	}
	EXPECT(try_host_read(mem), 0);
}

static void ioctl_writes_error_offset_on_failure_only(void)
{
	struct kvm_memory_attributes2 attrs = {
		.size = SIZE, .attributes = GMEM_PRIVATE, .error_offset = 0x1234,
		.flags = KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE,
	};
	int pipefd[2];

	pin_in_pipe(mem + 9 * PAGE, pipefd);
	EXPECT(raw(&attrs), -EAGAIN);
	EXPECT(attrs.error_offset, 9 * PAGE);
	unpin_pipe(pipefd);
	attrs.error_offset = 0x1234;
	EXPECT(raw(&attrs), 0);
	EXPECT(attrs.error_offset, 0x1234);
	attrs.size = 0;
	EXPECT(raw(&attrs), -EINVAL);
	EXPECT(attrs.error_offset, 0x1234);
}

static const struct promise promises[] = {
	PROMISE("owner", only_the_owner_converts, IN_PLACE, 0, N),
	PROMISE("ioctl", ioctl_refuses_what_it_does_not_know, POLICIES, 0, 0),
	PROMISE("ioctl", ioctl_writes_error_offset_on_failure_only, POLICIES, 0, N),
};

const struct promises check_ioctl = { promises, sizeof(promises) / sizeof(promises[0]) };
