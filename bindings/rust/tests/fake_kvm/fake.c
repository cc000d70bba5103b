// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What tests in Rust need of the fake KVM: functions for its members. */
#include "fake_kvm.h"

int rust_fake_start(void);
void rust_fake_stop(void);
void rust_fake_two_backings(void);
void rust_fake_set_page(int fd, unsigned int page, bool is_private, bool held);
bool rust_fake_is_private(int fd, unsigned int page);
bool rust_fake_has_slot(unsigned int slot);
void rust_fake_fail_conversion(unsigned int from, unsigned int count, int error);

/* The VM's descriptor. */
int rust_fake_start(void)
{
	fake_start();
	return fake.vm_fd;
}

void rust_fake_stop(void)
{
	fake_stop();
}

/* As a kernel without conversions in place. */
void rust_fake_two_backings(void)
{
	fake.knows_convert = false;
	fake.knows_policies = false;
}

void rust_fake_set_page(int fd, unsigned int page, bool is_private, bool held)
{
	struct fake_file *file = fake_file(fd);

	file->is_private[page] = is_private;
	fake.held[file - fake.files][page] = held;
}

bool rust_fake_is_private(int fd, unsigned int page)
{
	return fake_file(fd)->is_private[page];
}

bool rust_fake_has_slot(unsigned int slot)
{
	return fake.slots[slot].used;
}

void rust_fake_fail_conversion(unsigned int from, unsigned int count, int error)
{
	fake_fail(CALL_CONVERT, from, count, error);
}
