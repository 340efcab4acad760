/* The threads of a process that share passes. They sleep while there is none. */
#include <pthread.h>
#include <signal.h>

/* A pass that others may join; it lies on the stack of its caller. */
typedef struct Offer {
    Team team;
    Pass *pass;
    void *at;
    int count, part, joined, inside, open;
    long long apart;
    struct Offer *next;
} Offer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t offered = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static Offer *offers;
/* How many threads there are, and how many threads and callers are in a pass. */
static int workers, running;
/* How many passes there have been. */
static unsigned passes;

/* So often a thread looks for what it waits for, for some ten microseconds, before it sleeps. */
enum { LOOKS = 2000 };

static void pause_shortly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_loop(Team *team, unsigned long long loop)
{
    for (int i = 0; i < LOOKS; i++) {
        if (LOOP(__atomic_load_n(&team->place, __ATOMIC_ACQUIRE)) > loop)
            return;
        pause_shortly();
    }
    pthread_mutex_lock(&lock);
    /* Whoever ends the loop sees that somebody waits, or this sees that it has ended. */
    __atomic_add_fetch(&team->waiting, 1, __ATOMIC_SEQ_CST);
    while (LOOP(__atomic_load_n(&team->place, __ATOMIC_SEQ_CST)) <= loop)
        pthread_cond_wait(&done, &lock);
    __atomic_sub_fetch(&team->waiting, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&lock);
}

static void wake_waiting(Team *team)
{
    (void)team;
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&done);
    pthread_mutex_unlock(&lock);
}

/* A pass that one more thread may join, if there are not as many at work as it wants. */
static Offer *to_join(void)
{
    for (Offer *each = offers; each; each = each->next)
        if (each->open && each->joined < each->team.members - 1 && running < each->team.members)
            return each;
    return 0;
}

/* Waits for a short time for another pass, which often comes soon; `lock` is not held meanwhile. */
static void look_for_another(void)
{
    const unsigned seen = passes;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < LOOKS && __atomic_load_n(&passes, __ATOMIC_RELAXED) == seen; i++)
        pause_shortly();
    pthread_mutex_lock(&lock);
}

static void *work(void *nothing)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        Offer *offer = to_join();
        if (!offer) {
            pthread_cond_wait(&offered, &lock);
            continue;
        }
        const int number = ++offer->joined;
        offer->inside++;
        running++;
        pthread_mutex_unlock(&lock);
        offer->pass(offer->at, offer->count, offer->part, offer->apart, &offer->team, number);
        pthread_mutex_lock(&lock);
        running--;
        offer->open = 0;  /* all its loops are done */
        if (!--offer->inside)
            pthread_cond_broadcast(&left);
        if (!to_join())
            look_for_another();
    }
    return nothing;
}

/* Starts threads until there are so many; no error if the system allows fewer. Signals are for others. */
static void start_workers(int wanted)
{
    sigset_t every, before;
    pthread_attr_t detached;
    if (workers >= wanted || pthread_attr_init(&detached))
        return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    for (; workers < wanted; workers++) {
        pthread_t thread;
        if (pthread_create(&thread, &detached, work, 0))
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    pthread_attr_destroy(&detached);
}

/* A forked child has the calling thread alone, which is in no pass. */
static void begin_again(void)
{
    pthread_mutex_init(&lock, 0);
    pthread_cond_init(&offered, 0);
    pthread_cond_init(&done, 0);
    pthread_cond_init(&left, 0);
    offers = 0;
    workers = running = 0;
}

/* Runs a pass with up to so many threads, this one among them. Several threads may call. */
void netspec_run(Pass *pass, void *at, int count, int part, long long apart, int threads)
{
    static int known;
    Offer offer = {{0}, pass, at, count, part, 0, 0, 1, apart, 0}, **place = &offers;
    if (threads <= 1) {
        pass(at, count, part, apart, 0, 0);
        return;
    }
    offer.team.members = threads;
    offer.team.wait = wait_for_loop;
    offer.team.wake = wake_waiting;
    pthread_mutex_lock(&lock);
    if (!known)
        known = !pthread_atfork(0, 0, begin_again);
    start_workers(threads - 1);
    running++;
    offer.next = offers;
    offers = &offer;
    __atomic_store_n(&passes, passes + 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&offered);
    pthread_mutex_unlock(&lock);
    pass(at, count, part, apart, &offer.team, 0);
    pthread_mutex_lock(&lock);
    running--;
    while (*place != &offer)
        place = &(*place)->next;
    *place = offer.next;
    if (offers)
        pthread_cond_broadcast(&offered);
    while (offer.inside)
        pthread_cond_wait(&left, &lock);
    pthread_mutex_unlock(&lock);
}
