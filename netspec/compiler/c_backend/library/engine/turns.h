/* What a member knows of a pass: its team (0 if it is alone), its number in it, whether it is in a turn, and
   how many shared loops it has met. */
#ifdef __GNUC__
#define OF_THREAD __thread
#else
#define OF_THREAD
#endif
static OF_THREAD struct {
    Team *team;
    int number, inside;
    unsigned long long loops;
} me;
#define THIS_THREAD me.number
/* Among how many threads a loop that begins here is shared. */
#define THREADS (me.team && !me.inside ? me.team->members : 1)

static void join_team(Team *team, int number)
{
    me.team = team;
    me.number = number;
    me.inside = 0;
    me.loops = 0;
}

/* The turns of a loop that this member has: those from `from` to `to`, in pieces of `piece`. A loop has as
   many segments as it has pieces or members. A member begins with its own, so that it finds in its cache what
   it made of the same part of a picture or a batch in the loop before; then it helps with the others. */
typedef struct {
    int from, to, end, piece, alone, entered, pieces, segments, tried;
    unsigned long long loop;
} Turns;

#ifdef __GNUC__
/* Whether the loop is under way, and this member is in it now. The first one prepares the next loop. */
static int enter_loop(Team *team, unsigned long long loop)
{
    unsigned long long place = __atomic_load_n(&team->place, __ATOMIC_ACQUIRE);
    while (LOOP(place) == loop)
        if (__atomic_compare_exchange_n(&team->place, &place, place + 1, 0, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE)) {
            for (int s = 0; place == loop << 16 && s < SEGMENTS && s < team->members; s++)
                __atomic_store_n(&team->segments[(loop + 1) & 1][s].taken, 0, __ATOMIC_RELAXED);
            return 1;
        }
    return 0;
}

/* A member finds no more turns: those of the last one are done. */
static void leave_loop(Team *team, unsigned long long loop)
{
    unsigned long long place = __atomic_load_n(&team->place, __ATOMIC_RELAXED), next;
    do
        next = place == (loop << 16) + 1 ? (loop + 1) << 16 : place - 1;
    while (!__atomic_compare_exchange_n(&team->place, &place, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if (LOOP(next) > loop && __atomic_load_n(&team->waiting, __ATOMIC_SEQ_CST))
        team->wake(team);
}

static int first_piece(const Turns *turns, int segment)
{
    return (int)((long long)turns->pieces * segment / turns->segments);
}

static int more_shared_turns(Turns *turns)
{
    Team *team = me.team;
    me.inside = 0;
    if (turns->entered) {
        for (; turns->tried < turns->segments; turns->tried++) {
            const int segment = (me.number + turns->tried) % turns->segments;
            int *const counter = &team->segments[turns->loop & 1][segment].taken;
            const int taken = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
            const int piece = first_piece(turns, segment) + taken;
            if (piece < first_piece(turns, segment + 1)) {
                turns->from = piece * turns->piece;
                turns->to = turns->end - turns->from < turns->piece ? turns->end : turns->from + turns->piece;
                me.inside = 1;
                return 1;
            }
        }
        leave_loop(team, turns->loop);
    }
    if (LOOP(__atomic_load_n(&team->place, __ATOMIC_ACQUIRE)) == turns->loop)
        team->wait(team, turns->loop);
    return 0;
}
#else
#define enter_loop(team, loop) 0
#define more_shared_turns(turns) 0
#endif

/* How much it is worth to share turns that take long: a member takes one at a time. */
enum { LONG_TURNS = 2 };

static Turns turns_of(int end, int step, int worth)
{
    Turns turns = {0, end, end, 1, me.inside || !me.team, 0, 1, 1, 0, 0};
    if (!turns.alone) {
        const int each = ((end - 1) / step + 1) / (8 * me.team->members);
        turns.piece = !worth ? end : worth < LONG_TURNS && each > 1 ? each * step : step;
        turns.piece = turns.piece < 1 ? 1 : turns.piece;
        turns.pieces = end > 0 ? (end - 1) / turns.piece + 1 : 0;
        turns.segments = me.team->members < SEGMENTS ? me.team->members : SEGMENTS;
        turns.segments = turns.pieces < 1 ? 1 : turns.pieces < turns.segments ? turns.pieces : turns.segments;
        turns.loop = me.loops++;
        turns.entered = enter_loop(me.team, turns.loop);
    }
    return turns;
}

static int more_turns(Turns *turns)
{
    if (turns->alone)
        return turns->alone++ == 1;
    return more_shared_turns(turns);
}

/* A loop over i from 0 up to `end` whose turns threads share if that is `worth` it, and else one of them has.
   Nothing is read or written outside of such loops but variables, because threads come there at any time;
   `break` and `return` do not leave one. One inside another is not shared. */
#define SHARE(i, end, step, worth) \
    for (Turns turns_of_##i = turns_of(end, step, worth); more_turns(&turns_of_##i);) \
        for (int i = turns_of_##i.from; i < turns_of_##i.to; i += step)
/* How many rows of a picture are a turn: no more than `most`, and less if threads would have none. */
static int rows_of_turn(int most, int height, int images)
{
    while (most > 1 && images * ((height - 1) / most + 1) < 2 * THREADS)
        most = (most + 1) / 2;
    return most;
}

/* What one thread does, and all others wait for. */
#define ONCE SHARE(once, 1, 1, 0)
