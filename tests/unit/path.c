/* Questions to the file system, listings, safe names, shell words, and texts made visible. */
#include "core/base/path.h"

#include <math.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/text.h"
#include "qloom/exporter.h"
#include "test.h"

static const char *
at(ql_ctx *cx, const char *folder, const char *name)
{
    return ql_format(cx, "%s/%s", folder, name);
}

static void
check_answers(ql_ctx *cx, const char *folder)
{
    const char *fifo = at(cx, folder, "fifo"), *file = at(cx, folder, "file"), *text;
    bool yes = true;
    size_t bytes;
    uint64_t hash[2];
    ql_path_info info;

    CHECK_OK(cx, ql_file_write(cx, file, "abc", 3));
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_INT(symlink("nowhere", at(cx, folder, "dead")), 0);
    CHECK_INT(symlink("file", at(cx, folder, "link")), 0);
    CHECK_OK(cx, ql_is_file(cx, at(cx, folder, "no"), &yes));
    CHECK(!yes);
    CHECK_OK(cx, ql_is_file(cx, at(cx, folder, "dead"), &yes));
    CHECK(!yes);
    CHECK_OK(cx, ql_is_file(cx, at(cx, folder, "file/below"), &yes));
    CHECK(!yes);
    CHECK_OK(cx, ql_is_file(cx, at(cx, folder, "link"), &yes));
    CHECK(yes);
    CHECK_OK(cx, ql_is_folder(cx, folder, &yes));
    CHECK(yes);
    CHECK_OK(cx, ql_is_folder(cx, file, &yes));
    CHECK(!yes);
    CHECK_ERROR(cx, ql_is_file(cx, folder, &yes), QL_INVALID, "expected a file, got a folder");
    CHECK_ERROR(cx, ql_is_file(cx, fifo, &yes), QL_INVALID, "fifo: expected a file, got a FIFO");
    CHECK_ERROR(cx, ql_is_file(cx, "/dev/null", &yes), QL_INVALID, "/dev/null: expected a file, got a device");
    CHECK_ERROR(cx, ql_file_read(cx, fifo, 9, &text, &bytes), QL_IO, "fifo: not a regular file but a FIFO");
    CHECK_ERROR(cx, ql_hash_file(cx, fifo, SIZE_MAX, hash), QL_IO, "not a regular file but a FIFO");
    CHECK_OK(cx, ql_path_look(cx, file, &info));
    CHECK(info.type == QL_PATH_FILE && info.stat.st_size == 3);
    if (geteuid() != 0) { /* root may look everywhere */
        CHECK_INT(chmod(folder, 0), 0);
        CHECK_ERROR(cx, ql_is_file(cx, file, &yes), QL_IO, "file: Permission denied");
        CHECK_ERROR(cx, ql_is_folder(cx, file, &yes), QL_IO, "file: Permission denied");
        CHECK_INT(chmod(folder, 0700), 0);
    }
    text = ql_format(cx, "/%0300d", 1);
    CHECK_ERROR(cx, ql_is_file(cx, text, &yes), QL_IO, "File name too long");
}

static void
check_socket(ql_ctx *cx, const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = at(cx, folder, "socket"), *text;
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t bytes;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return;
    CHECK_ERROR(cx, ql_file_read(cx, path, 9, &text, &bytes), QL_IO, "socket: not a regular file but a socket");
    close(fd);
}

static void
check_list(ql_ctx *cx, const char *folder)
{
    const ql_folder_entry *entries;
    int64_t count;

    CHECK_OK(cx, ql_make_folders(cx, at(cx, folder, "sub/deep")));
    CHECK_OK(cx, ql_make_folders(cx, at(cx, folder, "sub/deep/")));
    CHECK_ERROR(cx, ql_make_folders(cx, at(cx, folder, "file/deep")), QL_IO, "cannot make the folder");
    REQUIRE_OK(cx, ql_folder_list(cx, folder, &entries, &count));
    CHECK(count == 5 || count == 6);
    CHECK_STR(entries[0].name, "dead");
    CHECK(entries[0].link && entries[0].at.type == QL_PATH_NONE);
    CHECK(entries[1].at.type == QL_PATH_OTHER && entries[2].at.stat.st_size == 3 && !entries[2].link);
    CHECK(entries[3].link && entries[3].at.type == QL_PATH_FILE && entries[count - 1].at.type == QL_PATH_FOLDER);
    CHECK_ERROR(cx, ql_folder_list(cx, at(cx, folder, "none"), &entries, &count), QL_NOT_FOUND, "none: No such file");
    CHECK_ERROR(cx, ql_folder_list(cx, at(cx, folder, "file"), &entries, &count), QL_IO, "Not a directory");
}

/* A link planted in the way is neither followed nor written through. */
static void
check_links(ql_ctx *cx, const char *folder)
{
    const char *victim = at(cx, folder, "victim"), *planted = at(cx, folder, "log.txt"), *text;
    size_t bytes;
    FILE *f;

    CHECK_OK(cx, ql_file_write(cx, victim, "mine", 4));
    CHECK_INT(symlink("victim", planted), 0);
    CHECK_ERROR(cx, ql_file_stream(cx, planted, "w", &f), QL_IO, "links are not followed");
    CHECK_INT(symlink("victim", ql_format(cx, "%s/new.%ld.tmp", folder, (long)getpid())), 0);
    CHECK_OK(cx, ql_file_write(cx, at(cx, folder, "new"), "x", 1));
    CHECK_OK(cx, ql_remove_tree(cx, planted));
    CHECK_INT(symlink(".", at(cx, folder, "sub/round")), 0);
    CHECK_OK(cx, ql_remove_tree(cx, at(cx, folder, "sub")));
    CHECK_OK(cx, ql_remove_tree(cx, at(cx, folder, "sub")));
    CHECK_OK(cx, ql_file_read(cx, victim, 9, &text, &bytes));
    CHECK_STR(text, "mine");
    REQUIRE_OK(cx, ql_file_stream(cx, at(cx, folder, "log"), "a+", &f));
    fputs("one", f);
    fclose(f);
    REQUIRE_OK(cx, ql_file_stream(cx, at(cx, folder, "log"), "a", &f));
    fputs("two", f);
    fclose(f);
    CHECK_OK(cx, ql_file_read(cx, at(cx, folder, "log"), 9, &text, &bytes));
    CHECK_STR(text, "onetwo");
    REQUIRE_OK(cx, ql_file_stream(cx, at(cx, folder, "log"), "w", &f));
    fclose(f);
    CHECK_OK(cx, ql_file_read(cx, at(cx, folder, "log"), 9, &text, &bytes));
    CHECK_INT(bytes, 0);
    CHECK_ERROR(cx, ql_file_stream(cx, at(cx, folder, "fifo"), "w", &f), QL_IO, "fifo: ");
}

static void
check_texts(ql_ctx *cx)
{
    static const char name[] = "gptq-3=x_.\xc3\xa4";
    char text[64], longest[600];
    bool changed = true;

    CHECK_STR(ql_safe_name(cx, name, &changed), name);
    CHECK(!changed);
    CHECK_STR(ql_safe_name(cx, ".-a b/../c'", &changed), "_-a_b_.._c_");
    CHECK(changed);
    memset(longest, 'a', sizeof longest);
    longest[199] = (char)0xc3;
    longest[200] = (char)0xa4;
    longest[sizeof longest - 1] = '\0';
    CHECK_INT(strlen(ql_safe_name(cx, longest, NULL)), 199);
    CHECK_STR(ql_shell_word(cx, "/a/b-c.d=1"), "/a/b-c.d=1");
    CHECK_STR(ql_shell_word(cx, ""), "''");
    CHECK_STR(ql_shell_word(cx, "it's $HOME"), "'it'\\''s $HOME'");
    ql_visible("a\x1b[2J\xc2\x85\r\n\xe2\x80\xae\xff\tb\x7f", "|", text, sizeof text);
    CHECK_STR(text, "a\\x1b[2J\\x85\\x0d|\\u202e\\xff\tb\\x7f");
    ql_visible("abcdef", "", text, 4);
    CHECK_STR(text, "abc");
    ql_number(0.1, text);
    CHECK_STR(text, "0.1");
    ql_number(1.0 / 3, text);
    CHECK_STR(text, "0.3333333333333333");
}

/* What is not there yet is where its nearest folder is. */
static void
check_room(ql_ctx *cx, const char *folder)
{
    struct stat here;
    double bytes = -1, same = -2;
    dev_t disk, other;

    CHECK_INT(stat(folder, &here), 0);
    CHECK_OK(cx, ql_path_room(cx, folder, &disk, &bytes));
    CHECK(disk == here.st_dev && bytes >= 0);
    CHECK_OK(cx, ql_path_room(cx, at(cx, folder, "not/there/yet"), &other, &same));
    CHECK(other == disk && same >= 0);
    CHECK_OK(cx, ql_path_room(cx, at(cx, folder, "file/below"), &other, &same));
    CHECK(other == disk);
    CHECK_OK(cx, ql_path_room(cx, "nowhere", &other, &same));
    CHECK_INT(stat("/proc", &here), 0);
    CHECK_OK(cx, ql_path_room(cx, "/proc/nowhere", &other, &same));
    CHECK(other == here.st_dev && isinf(same));
}

int
main(void)
{
    char folder[] = "/tmp/qloom-path-XXXXXX";
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (!mkdtemp(folder))
        SKIP("no temporary folder");
    check_answers(&cx, folder);
    check_room(&cx, folder);
    check_list(&cx, folder);
    check_links(&cx, folder);
    check_socket(&cx, folder);
    check_texts(&cx);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
