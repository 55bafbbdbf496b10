/* ============================================================================
   >>files  safetensors, and replacing a file safely
   A .safetensors file:  u64 N, little-endian | N bytes of JSON | the data
     {"__metadata__":{"key":"text"},
      "conv2d1.weight":{"dtype":"F32","shape":[8,1,5,5],"data_offsets":[0,800]}}
   Offsets count from the first byte of data. A reader of files from strangers
   believes nothing: see lsnni_header_* and lsnni_spans_check.
   ==========================================================================*/

/* ---- >>durable: the one seam to the system under the files -------------------
   ISO C can write a file, but neither make it survive a power cut (fsync of the
   file before the rename, of its folder after it) nor, on Windows, rename over
   an old one. POSIX can; but under -std=c99 its headers hide fsync and others.
   Where they may be hidden they are declared here, by POSIX's own prototypes: to
   declare a function twice with the same type is valid C. In C++ that type
   includes noexcept, for which glibc's word is __THROW; elsewhere C++ compilers
   see them anyway. The parentheses keep macros of these names away.
   Those that return int return 0, or -1 with the reason in errno. lsnni_move
   puts tmp in the place of path and returns NULL, or the step that failed.   */
#if defined(_WIN32)
#include <io.h>
#ifdef __cplusplus
extern "C"
#endif
__declspec(dllimport) int __stdcall MoveFileExA(const char *from, const char *to,
                                                unsigned long flags);

typedef struct lsnni_access { int unused; } lsnni_access;

static int lsnni_stream_sync(FILE *f) { return _commit(_fileno(f)); }

static int64_t lsnni_stream_size(FILE *f)
{
    return _fseeki64(f, 0, SEEK_END) != 0 ? -1 : (int64_t)_ftelli64(f);
}

static int lsnni_replaceable(const char *path, lsnni_access *old)
{
    (void)path;
    old->unused = 0;
    return 0;
}

enum { LSNNI_CLOSE_FIRST = 1 };      /* no open file can be renamed           */
static FILE *lsnni_tmp_open(char *tmp, size_t room, const char *path, lsnni_access *old)
{
    (void)old;
    snprintf(tmp, room, "%s.tmp", path);
    return fopen(tmp, "wb");
}

static void lsnni_tmp_done(FILE *f) { (void)f; }
static int lsnni_tmp_hand_over(FILE *f, const lsnni_access *old)
{
    (void)f;
    (void)old;
    return 0;
}

static const char *lsnni_move(char *tmp, const char *path, int *moved)
{
    *moved = MoveFileExA(tmp, path, 1 | 8) != 0;   /* replace, and wait for it */
    if (*moved) return NULL;
    errno = EACCES;                  /* the usual reason: somebody has it open */
    return "renaming";
}
#else
#include <fcntl.h>
#include <sys/types.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#if !defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE < 200809L
#  if defined(__cplusplus) && defined(__GLIBC__)
extern "C" int (fileno)(FILE *stream) __THROW;
extern "C" FILE *(fdopen)(int descriptor, const char *mode) __THROW;
extern "C" int (fsync)(int descriptor);
extern "C" int (fchmod)(int descriptor, mode_t mode) __THROW;
extern "C" int (fchown)(int descriptor, uid_t owner, gid_t group) __THROW;
#  elif !defined(__cplusplus)
extern int (fileno)(FILE *stream);
extern FILE *(fdopen)(int descriptor, const char *mode);
extern int (fsync)(int descriptor);
extern int (fchmod)(int descriptor, mode_t mode);
extern int (fchown)(int descriptor, uid_t owner, gid_t group);
#  endif
#endif
#ifdef O_NOFOLLOW
#  define LSNNI_NOFOLLOW O_NOFOLLOW
#else
#  define LSNNI_NOFOLLOW 0           /* hidden by -std=c99: then what is found is not ours */
#endif
#ifdef O_CLOEXEC
#  define LSNNI_CLOEXEC O_CLOEXEC
#else
#  define LSNNI_CLOEXEC 0
#endif

/* Not every file system knows syncing (of folders, above all): that is no failure, since the
   file is as safe as it can be there.                                        */
static int lsnni_sync(int descriptor)
{
    int result;
#ifdef F_FULLFSYNC                   /* macOS: fsync stops at the disk's cache */
    if (fcntl(descriptor, F_FULLFSYNC) == 0) return 0;
#endif
    do { result = fsync(descriptor); } while (result != 0 && errno == EINTR);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS || errno == EBADF)) return 0;
#ifdef ENOTSUP
    if (result != 0 && errno == ENOTSUP) return 0;
#endif
#ifdef EOPNOTSUPP
    if (result != 0 && errno == EOPNOTSUPP) return 0;
#endif
    return result;
}

static int lsnni_stream_sync(FILE *f) { return lsnni_sync(fileno(f)); }

static int64_t lsnni_stream_size(FILE *f)
{
    return fseek(f, 0, SEEK_END) != 0 ? -1 : (int64_t)ftell(f);
}

/* Whose a file is and who may do what with it: the new file's are those of the old one. */
typedef struct lsnni_access {
    int there;                       /* 0: there is no old one; mode is the umask's */
    mode_t mode;
    uid_t owner;
    gid_t group;
} lsnni_access;

/* A rename would put a file in the place of a device (/dev/null, for root), and of one that
   was made read-only.                                                        */
static int lsnni_replaceable(const char *path, lsnni_access *old)
{
    struct stat there;
    int descriptor;
    memset(old, 0, sizeof *old);
    if (stat(path, &there) != 0) return 0;
    if (!S_ISREG(there.st_mode)) {
        errno = S_ISDIR(there.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    old->there = 1;
    old->mode = there.st_mode & 0777;
    old->owner = there.st_uid;
    old->group = there.st_gid;
    descriptor = open(path, O_WRONLY | LSNNI_CLOEXEC);
    if (descriptor >= 0) close(descriptor);
    return descriptor < 0 && (errno == EACCES || errno == EPERM || errno == EROFS) ? -1 : 0;
}

/* ---- the file in the making. In a folder that others can write to, anything may wait at
   its name: a link to somebody's file, or a file of the user's own. So nothing that is there
   is ever opened for its contents; the file is made new (O_EXCL, which follows no link), or
   under another name. Until it is whole its mode is LSNNI_MAKING: nobody reads half a file.
   From then until it is in its place it has LSNNI_WHOLE too, a bit that means nothing on a
   file. So what a killed program left is known by its mode, and removed. It is locked until
   it is closed, so that of two programs that save to one path the second fails (EBUSY). */
enum { LSNNI_CLOSE_FIRST = 0, LSNNI_MAKING = 0200, LSNNI_WHOLE = 01000, LSNNI_TMP_TRIES = 200 };

static int lsnni_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* 0: locked, or a file system without locks; -1: it is somebody else's now.  */
static int lsnni_lock(int descriptor)
{
    return flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK ? -1 : 0;
}

/* Locks the file just made. 1: done; 0: it was taken for a leftover meanwhile; -1: busy. */
static int lsnni_tmp_lock(const char *tmp, int descriptor)
{
    struct stat mine, there;
    if (lsnni_lock(descriptor) != 0) return -1;
    return fstat(descriptor, &mine) == 0 && stat(tmp, &there) == 0 &&
        lsnni_same_file(&mine, &there);
}

/* Removes what a killed program left. 1: done; 0: it is not ours to remove; -1: its maker is
   still at it. Empty is one that was just made.                              */
static int lsnni_tmp_clear(const char *tmp)
{
    struct stat mine, there;
    int descriptor = open(tmp, O_WRONLY | O_NONBLOCK | LSNNI_NOFOLLOW | LSNNI_CLOEXEC);
    int cleared = 0;
    if (descriptor < 0) return 0;
    if (fstat(descriptor, &mine) == 0 && S_ISREG(mine.st_mode) && mine.st_nlink == 1 &&
        mine.st_uid == geteuid() &&
        ((mine.st_mode & 07777) == LSNNI_MAKING || (mine.st_mode & LSNNI_WHOLE) ||
         mine.st_size == 0)) {
        if (lsnni_lock(descriptor) != 0) cleared = -1;
        else if (stat(tmp, &there) != 0 || lsnni_same_file(&mine, &there))
            cleared = unlink(tmp) == 0 || errno == ENOENT;
        else cleared = 1;                                /* there is a new one    */
    }
    close(descriptor);
    return cleared;
}

/* Writes PATH.tmp to tmp, PATH.tmp1 and so on, or a short name in the same folder. */
static void lsnni_tmp_name(char *tmp, size_t room, const char *path, int number, int brief)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char suffix[16] = "";
    if (number) snprintf(suffix, sizeof suffix, "%d", number);
    if (!brief) snprintf(tmp, room, "%s.tmp%s", path, suffix);
    else snprintf(tmp, room, "%.*slsnn-%08lx.tmp%s", (int)(name - path), path,
                  (unsigned long)lsnni_hash(2166136261u, name), suffix);
}

static FILE *lsnni_tmp_open(char *tmp, size_t room, const char *path, lsnni_access *old)
{
    int number = 0, brief = 0;
    for (int tries = 0; tries < LSNNI_TMP_TRIES; tries++) {
        struct stat mine;
        int descriptor, done;
        lsnni_tmp_name(tmp, room, path, number, brief);
        descriptor = open(tmp, O_WRONLY | O_CREAT | O_EXCL | LSNNI_NOFOLLOW | LSNNI_CLOEXEC,
                          old->there ? LSNNI_MAKING : 0666);
        if (descriptor >= 0) {
            FILE *f = NULL;
            if (!old->there && fstat(descriptor, &mine) == 0) old->mode = mine.st_mode & 0777;
            (void)!fchmod(descriptor, LSNNI_MAKING);     /* not everywhere are there modes */
            done = lsnni_tmp_lock(tmp, descriptor);
            if (done > 0 && (f = fdopen(descriptor, "wb")) != NULL) return f;
            if (done > 0) unlink(tmp);
            close(descriptor);
            if (done > 0) return NULL;
        } else if (errno == ENAMETOOLONG && !brief) {
            brief = 1;
            continue;
        } else if (errno != EEXIST) {
            return NULL;
        } else {
            done = lsnni_tmp_clear(tmp);
            number += done == 0;
        }
        if (done < 0) break;
    }
    errno = EBUSY;
    return NULL;
}

/* The whole file gets the old one's owner, group and mode; where it cannot have that group,
   the group that it has may not do more than everybody.                      */
static int lsnni_tmp_hand_over(FILE *f, const lsnni_access *old)
{
    struct stat now;
    mode_t mode = old->mode;
    int descriptor = fileno(f);
    if (old->there && fchown(descriptor, old->owner, old->group) != 0 &&
        fchown(descriptor, (uid_t)-1, old->group) != 0)
        mode &= 0707 | ((mode & 07) << 3);
    if (fchmod(descriptor, mode | LSNNI_WHOLE) == 0 || fchmod(descriptor, mode) == 0) return 0;
    if (fstat(descriptor, &now) != 0) return -1;
    return (now.st_mode & 0777 & ~mode) == 0 ? 0 : -1;   /* no modes there, or too much */
}

/* It is in its place.                                                        */
static void lsnni_tmp_done(FILE *f)
{
    struct stat now;
    if (fstat(fileno(f), &now) == 0 && (now.st_mode & LSNNI_WHOLE))
        (void)!fchmod(fileno(f), now.st_mode & 0777);
}

/* The folder is opened first: where that fails, nothing has changed yet. One that can be
   written but not read cannot be synced.                                     */
static const char *lsnni_move(char *tmp, const char *path, int *moved)
{
    char *slash = strrchr(tmp, '/'), *name = slash ? slash + 1 : tmp, letter = *name;
    const char *failed = NULL;
    int folder, why;
    *name = 0;                       /* tmp is the folder's path for a moment  */
    folder = open(*tmp ? tmp : ".", O_RDONLY | LSNNI_CLOEXEC);
    *name = letter;
    if (folder < 0 && errno != EACCES) return "opening its folder";
    *moved = rename(tmp, path) == 0;
    if (!*moved) failed = "renaming";
    else if (folder >= 0 && lsnni_sync(folder) != 0) failed = "syncing its folder";
    why = errno;
    if (folder >= 0) close(folder);
    errno = why;
    return failed;
}
#endif

/* ---- >>replace: write a whole file or none -----------------------------------*/

/* The end of a path, so that what follows it fits into the message.          */
static const char *lsnni_path_end(const char *path)
{
    size_t n = strlen(path);
    return n > 200 ? path + n - 200 : path;
}

/* All that take a path ask this first.                                       */
static lsnn_status lsnni_path_check(lsnn_ctx *cx, const char *who, const char *path)
{
    return path ? LSNN_OK : lsnni_fail(cx, LSNN_EVALUE, "%s: the path is NULL", who);
}

/* Puts at path what `fill` writes: into PATH.tmp first, which is synced and
   renamed, so that a crash at any moment leaves the old file or the new one.
   fill returns EIO, and needs no message, as soon as a stream call fails. Of several ranks,
   the first one writes.                                                      */
static lsnn_status lsnni_file_replace(lsnn_ctx *cx, const char *path,
                                      lsnn_status (*fill)(lsnn_ctx *cx, FILE *f, void *user),
                                      void *user)
{
    size_t room = strlen(path) + 40;                     /* the longest of names  */
    char *tmp = (char *)lsnni_alloc(cx, room, 1);
    const char *failed = NULL;
    lsnn_status s = LSNN_OK;
    lsnni_access old;
    FILE *f = NULL;
    int moved = 0, closed = 0;
    if (!tmp) return LSNN_ENOMEM;
    if (cx->rank > 0) {
        lsnni_free(cx, tmp);
        return LSNN_OK;
    }
    if (lsnni_replaceable(path, &old) != 0) failed = "replacing what is there";
    else if (!(f = lsnni_tmp_open(tmp, room, path, &old))) failed = "creating its .tmp file";
    else {
        s = fill(cx, f, user);
        if (s != LSNN_OK || ferror(f) || fflush(f) != 0) failed = "writing";
        else if (lsnni_stream_sync(f) != 0) failed = "syncing";
        else if (lsnni_tmp_hand_over(f, &old) != 0) failed = "giving it the old one's mode";
        else if (LSNNI_CLOSE_FIRST && (closed = 1, fclose(f) != 0)) failed = "closing";
        else failed = lsnni_move(tmp, path, &moved);
    }
    if (failed) {
        s = lsnni_fail(cx, s == LSNN_OK ? LSNN_EIO : s,
                       moved ? "%s: written, but %s failed: %s; a power cut may undo it"
                             : "%s: not written: %s failed: %s; what was there is unchanged",
                       lsnni_path_end(path), failed, strerror(errno));
        if (f && LSNNI_CLOSE_FIRST && !closed) { fclose(f); closed = 1; }
        if (f && !moved) remove(tmp);
    }
    if (f && moved) lsnni_tmp_done(f);
    if (f && !closed) fclose(f);                         /* and unlock        */
    lsnni_free(cx, tmp);
    return s;
}

