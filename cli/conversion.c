// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conversion.h"
#include "tracefs.h"

#define EVENT		"kvm_gmem/kvm_gmem_convert"
#define MARK		": kvm_gmem_convert:"

const char *conversions_open(const char *filter, int process)
{
	return tracefs_open(EVENT, filter, process);
}

void conversions_close(void)
{
	tracefs_close();
}

double conversions_seconds(void)
{
	return tracefs_seconds();
}

/* The value of " @key=", or 0: a kernel may know fields that others do not. */
static uint64_t field(const char *text, const char *key)
{
	size_t length = strlen(key);
	const char *at = text;

	while ((at = strstr(at, key))) {
		if (at > text && at[-1] == ' ' && at[length] == '=')
			return strtoull(at + length + 1, NULL, 0);
		at += length;
	}

	return 0;
}

/* " qemu-system-x86-4711 [001] ..... 1234.567890", without the rest of the line. */
static bool parse_context(const char *line, size_t length, struct conversion *c)
{
	unsigned long long seconds;
	unsigned int microseconds;
	char text[256], *at;

	snprintf(text, sizeof(text), "%.*s", (int)length, line);
	at = strrchr(text, ' ');
	if (!at || sscanf(at, " %llu.%6u", &seconds, &microseconds) != 2)
		return false;
	c->time_us = seconds * 1000000 + microseconds;

	/* A name may have blanks, brackets and hyphens in it, what follows has none of them. */
	at = strrchr(text, '[');
	if (!at)
		return false;
	*at = '\0';
	at = strrchr(text, '-');
	if (!at)
		return false;
	*at = '\0';
	c->thread = atoi(at + 1);
	snprintf(c->thread_name, sizeof(c->thread_name), "%.31s", text + strspn(text, " "));

	return true;
}

bool conversion_parse(const char *line, struct conversion *c)
{
	const char *mark = strstr(line, MARK), *text;

	*c = (struct conversion){};
	if (!mark || !parse_context(line, mark - line, c))
		return false;

	text = mark + strlen(MARK);
	c->vm = field(text, "vm");
	c->ino = field(text, "ino");
	c->start = field(text, "start");
	c->size = field(text, "size");
	c->attributes = field(text, "attributes");
	c->policy = field(text, "policy");
	c->changed = field(text, "changed");
	c->result = field(text, "result");
	c->error_offset = field(text, "error_offset");
	c->error_ino = field(text, "error_ino");
	c->refs = field(text, "refs");
	c->maps = field(text, "maps");
	c->pins = field(text, "pins");
	c->took_ns = field(text, "took_ns");
	c->locked_ns = field(text, "locked_ns");

	return true;
}

/* "CPU:1 [LOST 17 EVENTS]", or without a number. */
static bool parse_lost(const char *line, uint64_t *lost)
{
	const char *at = strstr(line, "[LOST ");

	if (strncmp(line, "CPU:", strlen("CPU:")) || !at)
		return false;

	*lost = strtoull(at + strlen("[LOST "), NULL, 10);
	return true;
}

enum conversions_result conversions_read(struct conversion *c, uint64_t *lost, uint64_t deadline_ns)
{
	char line[1024];

	for (;;) {
		switch (tracefs_read(line, sizeof(line), deadline_ns)) {
		case TRACEFS_LINE:
			if (conversion_parse(line, c))
				return CONVERSION;
			if (parse_lost(line, lost))
				return CONVERSIONS_LOST;
			break;
		case TRACEFS_TIMEOUT:
			return CONVERSIONS_TIMEOUT;
		case TRACEFS_SIGNAL:
			return CONVERSIONS_SIGNAL;
		case TRACEFS_ENDED:
			return CONVERSIONS_ENDED;
		case TRACEFS_STOPPED:
			return CONVERSIONS_STOPPED;
		}
	}
}

const char *conversion_error(const struct conversion *c)
{
	static char number[16];
	const char *name;

	if (!c->result)
		return "";

	name = strerrorname_np(-c->result);
	if (name)
		return name;
	snprintf(number, sizeof(number), "%d", c->result);
	return number;
}

bool conversion_is_held(const struct conversion *c)
{
	return c->result == -EAGAIN && c->refs;
}

const char *conversion_holders(const struct conversion *c)
{
	static char text[128];

	/* A pin is 1024 references, so that many other references look like one. */
	snprintf(text, sizeof(text), "references %u, maps %u, pins %u: %s", c->refs, c->maps, c->pins,
		 c->pins ? "looks like a pin" : "does not look like a pin");
	return text;
}
