// The market data: what is published, and when. Where it goes is the outlet's matter.
#ifndef MT4GATEWAY_FEED_MQH
#define MT4GATEWAY_FEED_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Events.mqh>
#include <Mt4Gateway/Maps.mqh>
#include <Mt4Gateway/MsgPack.mqh>
#include <Mt4Gateway/Orders.mqh>
#include <Mt4Gateway/Session.mqh>
#include <Mt4Gateway/Ticks.mqh>

#define HEARTBEAT_MS 1000
#define SYMBOLS_MS 1000
#define ORDERS_MS 50

// Every method that publishes takes what a map is written with, and where it goes.
class Feed
  {
private:
   SymbolTicks       watched[];
   int               watched_count;
   string            chart_symbol;
   BrokerClock       broker_clock;
   OrderWatch        order_watch;
   MsgPackWriter     account_before;
   MsgPackWriter     account_now;
   long              heartbeat_at_ms;
   long              symbols_at_ms;
   long              orders_at_ms;
   bool              was_connected;

   int               FindWatched(string symbol, int guess) const;
   void              WatchSymbols();
   void              PublishIfChanged(int at, bool is_event, MapWriter &map, Outlet &outlet);
   void              PublishTick(int at, const MqlTick &tick, bool is_event, MapWriter &map, Outlet &outlet);
   void              PublishOrders(MapWriter &map, Outlet &outlet);
   void              PublishAccount(bool is_wanted, MapWriter &map, Outlet &outlet);
   bool              IsMarketOpen() const;
   void              PublishHeartbeat(MapWriter &map, Outlet &outlet);

public:
                     Feed();
   void              Start(string symbol);
   void              OnTick(MapWriter &map, Outlet &outlet);
   void              OnTimer(MapWriter &map, Outlet &outlet);
   void              PublishSnapshot(string topic, MapWriter &map, Outlet &outlet);
  };

Feed::Feed()
  {
   watched_count = 0;
   heartbeat_at_ms = 0;
   symbols_at_ms = 0;
   orders_at_ms = 0;
   was_connected = false;
  }

void Feed::Start(string symbol)
  {
   chart_symbol = symbol;
   watched_count = 0;
   was_connected = IsConnected();
   WatchSymbols();
   order_watch.Poll();   // learns what is there: the first request may open an order
  }

// ---- events of the terminal ---------------------------------------------------------------------

// A tick of the chart's symbol.
void Feed::OnTick(MapWriter &map, Outlet &outlet)
  {
   broker_clock.Watch();
   int at = FindWatched(chart_symbol, 0);
   if(at >= 0 && outlet.IsOpen())
      PublishIfChanged(at, true, map, outlet);
  }

void Feed::OnTimer(MapWriter &map, Outlet &outlet)
  {
   broker_clock.Watch();
   if(!outlet.IsOpen())
      return;
   long now_ms = ClockMs();
   if(now_ms - symbols_at_ms >= SYMBOLS_MS)
      WatchSymbols();
   for(int i = 0; i < watched_count; i++)
      if(watched[i].symbol != chart_symbol)
         PublishIfChanged(i, false, map, outlet);
   if(now_ms - orders_at_ms >= ORDERS_MS)
      PublishOrders(map, outlet);
   if(now_ms - heartbeat_at_ms >= HEARTBEAT_MS)
      PublishHeartbeat(map, outlet);
  }

// ---- ticks --------------------------------------------------------------------------------------

int Feed::FindWatched(string symbol, int guess) const
  {
   if(guess < watched_count && watched[guess].symbol == symbol)
      return(guess);
   for(int i = 0; i < watched_count; i++)
      if(watched[i].symbol == symbol)
         return(i);
   return(-1);
  }

// Take in what was added to the Market Watch. What was removed stays, silent, with its number.
void Feed::WatchSymbols()
  {
   symbols_at_ms = ClockMs();
   int total = SymbolsTotal(true);
   for(int i = 0; i < total; i++)
     {
      string symbol = SymbolName(i, true);
      if(FindWatched(symbol, i) >= 0)
         continue;
      if(watched_count == ArraySize(watched))
         ArrayResize(watched, 2 * watched_count + 64);
      watched[watched_count].Reset(symbol);
      watched_count++;
     }
  }

void Feed::PublishIfChanged(int at, bool is_event, MapWriter &map, Outlet &outlet)
  {
   MqlTick tick;
   if(!SymbolInfoTick(watched[at].symbol, tick) || !watched[at].HasChanged(tick))
      return;
   NextSeq(watched[at]);
   PublishTick(at, tick, is_event, map, outlet);
  }

void Feed::PublishTick(int at, const MqlTick &tick, bool is_event, MapWriter &map, Outlet &outlet)
  {
   long utc_s = broker_clock.IsKnown() ? broker_clock.UtcOf(tick.time) : (long)TimeGMT();
   WriteTick(watched[at], tick, utc_s * 1000, is_event, map);
   outlet.Publish("tick." + watched[at].symbol);
  }

// ---- everything else ----------------------------------------------------------------------------

void Feed::PublishOrders(MapWriter &map, Outlet &outlet)
  {
   OrderEvent event;
   orders_at_ms = ClockMs();
   int count = order_watch.Poll();
   for(int i = 0; i < count; i++)
     {
      order_watch.EventAt(i, event);
      PackOrderEvent(event, map);
      outlet.Publish("order");
     }
   if(count > 0)
      PublishAccount(false, map, outlet);
  }

void Feed::PublishAccount(bool is_wanted, MapWriter &map, Outlet &outlet)
  {
   PackAccount(account_now);
   bool is_same = account_now.length == account_before.length;
   for(int i = 0; i < account_now.length && is_same; i++)
      is_same = account_now.bytes[i] == account_before.bytes[i];
   if(is_same && !is_wanted)
      return;
   PackAccount(account_before);
   PackAccount(map);
   outlet.Publish("account");
  }

// Whether the chart's symbol may be traded at this hour of the broker's clock.
bool Feed::IsMarketOpen() const
  {
   datetime now = broker_clock.IsKnown() ? (datetime)((long)TimeGMT() + broker_clock.OffsetS()) : TimeCurrent();
   return(IsTradeAllowed(chart_symbol, now));
  }

void Feed::PublishHeartbeat(MapWriter &map, Outlet &outlet)
  {
   heartbeat_at_ms = ClockMs();
   bool is_connected = IsConnected();
   map.Clear();
   map.Map(6);
   map.AddText("session", SharedSession());
   map.AddInteger("clock_ms", ClockMs());
   map.AddInteger("broker_time", (long)TimeCurrent());
   map.AddBoolean("connected", is_connected);
   map.AddBoolean("trade_allowed", MayTrade());
   map.AddBoolean("market_open", IsMarketOpen());
   outlet.Publish("heartbeat");
   PublishAccount(is_connected && !was_connected, map, outlet);
   if(is_connected && !was_connected)
      PublishSnapshot("", map, outlet);
   was_connected = is_connected;
  }

bool IsWanted(string topic, string name)
  {
   return(StringFind(name, topic) == 0 || topic == "");
  }

// The last quote of every symbol that is wanted, under a number of its own, and the account.
void Feed::PublishSnapshot(string topic, MapWriter &map, Outlet &outlet)
  {
   MqlTick tick;
   for(int i = 0; i < watched_count; i++)
     {
      if(!IsWanted(topic, "tick." + watched[i].symbol) || !SymbolInfoTick(watched[i].symbol, tick))
         continue;
      watched[i].HasChanged(tick);
      NextSeq(watched[i]);
      PublishTick(i, tick, false, map, outlet);
     }
   if(IsWanted(topic, "account"))
      PublishAccount(true, map, outlet);
  }

#endif
