// The terminal's monotonic clock, and what is known of the broker's.
#ifndef MT4GATEWAY_CLOCK_MQH
#define MT4GATEWAY_CLOCK_MQH

#import "kernel32.dll"
ulong GetTickCount64();
#import

#define BROKER_OFFSET_STEP_S 900

// Milliseconds since the computer started: never set back, the same in every program of this
// computer, and in 64 bits (GetTickCount starts over after 49.7 days).
long ClockMs() { return((long)GetTickCount64()); }

// A name for this start of the program: seconds and milliseconds, in 53 bits, so that a global
// variable of the terminal (a double) can tell it to other programs.
long NewSession()
  {
   return((long)TimeLocal() % 2147483648 * 65536 + ClockMs() % 65536);
  }

string SessionName(long session) { return("s" + IntegerToString(session)); }

// Measures how far the broker's clock is from UTC. TimeCurrent() is the time of the last quote, so
// only the moment at which it changes tells the broker's present time.
class BrokerClock
  {
private:
   datetime          last_time;
   int               offset_s;
   bool              is_known;

public:
                     BrokerClock() { last_time = 0; offset_s = 0; is_known = false; }
   bool              IsKnown() const { return(is_known); }
   int               OffsetS() const { return(offset_s); }
   void              Watch();
   long              UtcOf(datetime broker_time) const { return((long)broker_time - offset_s); }
  };

// Call often. The offset of a time zone is a multiple of a quarter of an hour, which takes out the
// delay of the quote and a clock that is some minutes wrong.
void BrokerClock::Watch()
  {
   datetime now = TimeCurrent();
   if(now == last_time)
      return;
   if(last_time != 0)
     {
      double steps = ((double)now - (double)TimeGMT()) / BROKER_OFFSET_STEP_S;
      offset_s = (int)MathRound(steps) * BROKER_OFFSET_STEP_S;
      is_known = true;
     }
   last_time = now;
  }

#endif
