// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "output.h"
#include "screen.h"
#include "wait.h"

#define CLEAR		"\033[H\033[2J"
#define HOME		"\033[H"
#define CLEAR_LINE	"\033[K"
#define CLEAR_REST	"\033[J"

static struct {
	bool in_place;
	bool has_keys;
	struct termios before;
} screen;

bool screen_start(bool plain)
{
	struct termios keys;

	/* A second signal ends the program even if a read of /proc hangs. */
	wait_catch(true);
	screen.in_place = !plain && output_knows_escapes();
	if (!screen.in_place)
		return false;

	screen.has_keys = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &screen.before);
	if (screen.has_keys) {
		keys = screen.before;
		keys.c_lflag &= ~(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &keys);
		/* Also when die() ends the program. */
		atexit(screen_end);
	}
	fputs(CLEAR, stdout);

	return true;
}

void screen_end(void)
{
	if (screen.has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
	screen.has_keys = false;
}

/* Cut off what does not fit, and say so: a line that wraps would scroll away the first one. */
static void show_in_place(const char *text, size_t size)
{
	const char *line = text, *newline;
	unsigned int rows = 24, columns = 80, row, nr = 0;
	struct winsize window;
	int length;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_row && window.ws_col) {
		rows = window.ws_row;
		columns = window.ws_col;
	}

	while ((line = memchr(line, '\n', text + size - line))) {
		line++;
		nr++;
	}
	/* The cursor has the last row. */
	rows = nr < rows ? nr : rows > 2 ? rows - 2 : 0;

	fputs(HOME, stdout);
	for (line = text, row = 0; row < rows; row++) {
		newline = memchr(line, '\n', text + size - line);
		length = newline - line;
		if ((unsigned int)length > columns)
			length = columns;
		printf(CLEAR_LINE "%.*s\n", length, line);
		line = newline + 1;
	}
	if (row < nr)
		printf(CLEAR_LINE "%u more lines\n", nr - row);
	fputs(CLEAR_REST, stdout);
}

void screen_show(const char *text, size_t size)
{
	if (screen.in_place) {
		show_in_place(text, size);
		output_flush();
	} else {
		output_write(NULL, text, size);
	}
}

bool screen_wait(double seconds)
{
	struct pollfd keys = { .fd = screen.has_keys ? STDIN_FILENO : -1, .events = POLLIN };
	uint64_t deadline = wait_deadline(seconds);
	char key;

	while (wait_for(&keys, 1, deadline)) {
		/* The terminal is gone: poll() would return at once from now on. */
		if (read(STDIN_FILENO, &key, 1) != 1)
			keys.fd = -1;
		else if (key == 'q' || key == 'Q')
			return false;
	}

	return !wait_is_ended();
}
