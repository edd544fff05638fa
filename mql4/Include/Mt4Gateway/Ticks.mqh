// Quotes of every symbol in the Market Watch: what changed, numbered, and how many were missed.
#ifndef MT4GATEWAY_TICKS_MQH
#define MT4GATEWAY_TICKS_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Maps.mqh>

// What is known of one symbol.
class SymbolTicks
  {
private:
   double            bid;
   double            ask;
   datetime          time;
   datetime          minute;         // the bar that `volume` counts in
   long              volume;         // its ticks so far

public:
   string            symbol;
   long              seq;            // of the last tick published, from 1

                     SymbolTicks() { Reset(""); }
   void              Reset(string name);
   bool              HasChanged(const MqlTick &tick);
   long              Missed();
  };

void SymbolTicks::Reset(string name)
  {
   symbol = name;
   bid = 0.0;
   ask = 0.0;
   time = 0;
   minute = 0;
   volume = -1;
   seq = 0;
  }

bool SymbolTicks::HasChanged(const MqlTick &tick)
  {
   bool has_changed = tick.bid != bid || tick.ask != ask || tick.time != time;
   bid = tick.bid;
   ask = tick.ask;
   time = tick.time;
   return(has_changed);
  }

// How many ticks came since the last call beyond the one that was seen: the terminal counts them
// in the tick volume of the running minute. A minute that ended in between is counted from its
// final volume; what lay in whole minutes between is not known and not counted.
long SymbolTicks::Missed()
  {
   datetime now = iTime(symbol, PERIOD_M1, 0);
   long counted = iVolume(symbol, PERIOD_M1, 0);
   long before = volume;
   long came = counted - before;
   if(now != minute)
      came = counted + (minute != 0 && iTime(symbol, PERIOD_M1, 1) == minute ? iVolume(symbol, PERIOD_M1, 1) - before : 0);
   minute = now;
   volume = counted;
   return(before < 0 || came <= 1 ? 0 : came - 1);
  }

// The number of the next tick: a gap is what was missed.
long NextSeq(SymbolTicks &state)
  {
   state.seq = state.seq + 1 + state.Missed();
   return(state.seq);
  }

// One tick as a map, `seq` first.
void WriteTick(const SymbolTicks &state, const MqlTick &tick, long utc_ms, bool is_event, MapWriter &map)
  {
   map.Clear();
   map.Map(9);
   map.AddInteger("seq", state.seq);
   map.AddText("symbol", state.symbol);
   map.AddInteger("time", utc_ms);
   map.AddInteger("broker_time", (long)tick.time);
   map.AddReal("bid", tick.bid);
   map.AddReal("ask", tick.ask);
   map.AddReal("last", tick.last);
   map.AddInteger("volume", (long)tick.volume);
   map.AddText("mode", is_event ? "event" : "sampled");
  }

#endif
