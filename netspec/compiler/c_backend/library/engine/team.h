/* Threads that run a pass together. Each member runs all of it, and they share the turns of its loops, one
   loop after another. Whoever comes late finds loops done and goes on to the one that is under way: nobody
   waits for a thread that has not come, but only for turns that another one has taken. */
typedef struct Team Team;
enum { SEGMENTS = 16 };
struct Team {
    /* The number of the loop that is under way, and in the last 16 bits how many are in it. */
    unsigned long long place;
    char apart[120];
    /* How many pieces of each segment of that loop have been taken, and of the next one, by whether its
       number is odd; each has a line of a cache to itself. */
    struct {
        int taken;
        char more_apart[60];
    } segments[2][SEGMENTS];
    int members, waiting;
    /* Returns when a loop is done, perhaps asleep. */
    void (*wait)(Team *team, unsigned long long loop);
    /* Wakes those who wait for a loop. */
    void (*wake)(Team *team);
};
#define LOOP(place) ((place) >> 16)
/* Computes a part of a batch of `count` images after another; `apart` numbers of memory are each member's. */
typedef void Pass(void *at, int count, int part, long long apart, Team *team, int number);
