// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * States that a VMM has written: "START END private|shared" for each range that
 * gmem_lookup() returns, in bytes; END is the first byte after it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "grow.h"
#include "map.h"

struct range {
	uint64_t start;
	uint64_t end;
	bool is_private;
};

struct ranges {
	struct range *at;
	size_t nr;
};

static void append(struct ranges *ranges, const struct range *range)
{
	ranges->at = grow(ranges->at, ranges->nr, sizeof(*range));
	ranges->at[ranges->nr++] = *range;
}

/* False if @line is not START END private|shared. */
static bool parse_range(const char *line, struct range *range)
{
	char state[16], rest, *at;
	long long start, end;

	errno = 0;
	start = strtoll(line, &at, 0);
	end = strtoll(at, &at, 0);
	if (errno || start < 0 || end <= start || sscanf(at, "%15s %c", state, &rest) != 1 ||
	    (strcmp(state, "private") && strcmp(state, "shared")))
		return false;

	*range = (struct range){ start, end, !strcmp(state, "private") };
	return true;
}

static void read_ranges(struct ranges *ranges, const char *name)
{
	FILE *file = strcmp(name, "-") ? fopen(name, "r") : stdin;
	unsigned int number = 0;
	struct range range;
	char *line = NULL;
	size_t room = 0;

	if (!file && errno == ENOENT && !strchr(name, '/')) {
		errno = 0;
		die("'%s' is neither a process nor a file; gmem top lists the VMs", name);
	}
	if (!file)
		die("cannot read '%s'", name);
	if (file == stdin)
		name = "standard input";
	while (getline(&line, &room, file) > 0) {
		const char *text = line + strspn(line, " \t\r\n");

		number++;
		if (!*text || *text == '#')
			continue;
		if (!parse_range(text, &range)) {
			errno = 0;
			die("%s:%u: not 'START END private' or 'START END shared' in bytes, "
			    "START < END < 2^63", name, number);
		}
		append(ranges, &range);
	}
	free(line);
	if (ferror(file))
		die("cannot read '%s'", name);
	if (file != stdin)
		fclose(file);
	if (!ranges->nr) {
		errno = 0;
		die("%s has no ranges", name);
	}
}

void map_file(struct picture *picture, const char *name, unsigned int columns)
{
	uint64_t start = UINT64_MAX, end = 0;
	struct ranges ranges = {};
	size_t i;

	read_ranges(&ranges, name);
	for (i = 0; i < ranges.nr; i++) {
		if (ranges.at[i].start < start)
			start = ranges.at[i].start;
		if (ranges.at[i].end > end)
			end = ranges.at[i].end;
	}

	picture_begin(picture, start, end, columns);
	for (i = 0; i < ranges.nr; i++)
		picture_add(picture, ranges.at[i].start, ranges.at[i].end, ranges.at[i].is_private);
	picture_finish(picture);
	free(ranges.at);
}
