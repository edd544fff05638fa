// What happens to orders and to the account, found by comparing: MetaTrader 4 tells nobody.
#ifndef MT4GATEWAY_EVENTS_MQH
#define MT4GATEWAY_EVENTS_MQH

#include <Mt4Gateway/Maps.mqh>
#include <Mt4Gateway/Orders.mqh>

// An open or pending order as it was seen last.
struct KnownOrder
  {
   int               ticket;
   int               type;
   double            lots;
   double            open_price;
   double            stop_loss;
   double            take_profit;
   long              expiration;
   bool              is_there;       // seen in the present look
   bool              is_continued;   // a partial close went on under another ticket
  };

struct OrderEvent
  {
   int               ticket;
   int               previous_ticket;   // 0: none
   string            name;
   string            reason;
  };

// ---- maps ---------------------------------------------------------------------------------------

// The selected order, keys and texts as in replies.
void PackSelectedOrder(MapWriter &map)
  {
   map.Map(16);
   map.AddInteger("ticket", OrderTicket());
   map.AddInteger("magic_number", OrderMagicNumber());
   map.AddText("symbol", OrderSymbol());
   map.AddInteger("order_type", OrderType());
   map.AddReal("lots", OrderLots());
   map.AddReal("open_price", OrderOpenPrice());
   map.AddReal("close_price", OrderClosePrice());
   map.AddText("open_time", BrokerTimeText(OrderOpenTime()));
   map.AddText("close_time", BrokerTimeText(OrderCloseTime()));
   map.AddText("expiration", BrokerTimeText(OrderExpiration()));
   map.AddReal("sl", OrderStopLoss());
   map.AddReal("tp", OrderTakeProfit());
   map.AddReal("profit", OrderProfit());
   map.AddReal("commission", OrderCommission());
   map.AddReal("swap", OrderSwap());
   map.AddText("comment", OrderComment());
  }

void PackOrderEvent(const OrderEvent &event, MapWriter &map)
  {
   map.Clear();
   map.Map(4);
   map.AddText("event", event.name);
   map.AddText("reason", event.reason);
   map.Text("order");
   if(SelectTicket(event.ticket))
      PackSelectedOrder(map);
   else
      map.Null();
   map.Text("previous_ticket");
   if(event.previous_ticket == 0)
      map.Null();
   else
      map.Integer(event.previous_ticket);
  }

void PackAccount(MapWriter &map)
  {
   map.Clear();
   map.Map(6);
   map.AddReal("balance", AccountBalance());
   map.AddReal("equity", AccountEquity());
   map.AddReal("margin", AccountMargin());
   map.AddReal("free_margin", AccountFreeMargin());
   map.AddReal("profit", AccountProfit());
   map.AddText("currency", AccountCurrency());
  }

// Why the selected closed order was closed. Brokers write it at the end of the comment; without
// that, a close exactly at a stop may have been the stop, or not.
string CloseReason()
  {
   string comment = OrderComment();
   if(StringFind(comment, "[sl]") >= 0)
      return("stop_loss");
   if(StringFind(comment, "[tp]") >= 0)
      return("take_profit");
   if(StringFind(comment, "expiration") >= 0)
      return("expired");
   if(StringFind(comment, "[so]") >= 0 || StringFind(comment, "so: ") == 0)
      return("stop_out");
   bool is_at_stop = OrderClosePrice() == OrderStopLoss() || OrderClosePrice() == OrderTakeProfit();
   bool is_refused = StringFind(comment, "[no money]") >= 0;
   return(is_refused || (IsMarketType(OrderType()) && is_at_stop) ? "unknown" : "request");
  }

// The ticket that "from #123" names, 0 if the comment is another.
int ContinuedTicket(string comment)
  {
   if(StringFind(comment, "from #") != 0)
      return(0);
   return((int)StringToInteger(StringSubstr(comment, 6)));
  }

// ---- comparing ----------------------------------------------------------------------------------

class OrderWatch
  {
private:
   KnownOrder        known[];
   int               known_count;
   bool              is_primed;
   OrderEvent        events[];
   int               event_count;

   int               Find(int ticket) const;
   void              Look();
   void              Compare(int at);
   void              AddKnown();
   void              Remember(int at);
   void              AddEvent(int ticket, int previous, string name, string reason);
   void              Removed();

public:
                     OrderWatch() { known_count = 0; event_count = 0; is_primed = false; }
   int               Poll();
   void              EventAt(int at, OrderEvent &event) const;
  };

// Compare with the last look; how many things happened. The first look only learns what is there.
int OrderWatch::Poll()
  {
   event_count = 0;
   for(int i = 0; i < known_count; i++)
     {
      known[i].is_there = false;
      known[i].is_continued = false;
     }
   Look();
   Removed();
   if(!is_primed)
      event_count = 0;
   is_primed = true;
   return(event_count);
  }

void OrderWatch::EventAt(int at, OrderEvent &event) const
  {
   event.ticket = events[at].ticket;
   event.previous_ticket = events[at].previous_ticket;
   event.name = events[at].name;
   event.reason = events[at].reason;
  }

int OrderWatch::Find(int ticket) const
  {
   for(int i = 0; i < known_count; i++)
      if(known[i].ticket == ticket)
         return(i);
   return(-1);
  }

void OrderWatch::Look()
  {
   int total = OrdersTotal();
   for(int i = 0; i < total; i++)
     {
      if(!OrderSelect(i, SELECT_BY_POS, MODE_TRADES))
         continue;
      int at = Find(OrderTicket());
      if(at >= 0)
         Compare(at);
      else
         AddKnown();
     }
  }

void OrderWatch::Compare(int at)
  {
   bool is_filled = IsPendingType(known[at].type) && IsMarketType(OrderType());
   bool is_modified = known[at].stop_loss != OrderStopLoss() || known[at].take_profit != OrderTakeProfit() ||
                      known[at].open_price != OrderOpenPrice() || known[at].expiration != (long)OrderExpiration();
   if(is_filled)
      AddEvent(OrderTicket(), 0, "filled", "request");
   else if(is_modified)
      AddEvent(OrderTicket(), 0, "modified", "request");
   Remember(at);
  }

void OrderWatch::AddKnown()
  {
   int ticket = OrderTicket();
   int previous = ContinuedTicket(OrderComment());
   int before = previous == 0 ? -1 : Find(previous);
   if(known_count == ArraySize(known))
      ArrayResize(known, 2 * known_count + 64);
   known_count++;
   Remember(known_count - 1);
   known[known_count - 1].is_continued = false;
   if(before >= 0)
      known[before].is_continued = true;
   AddEvent(ticket, before >= 0 ? previous : 0, before >= 0 ? "partially_closed" : "opened", "request");
  }

void OrderWatch::Remember(int at)
  {
   known[at].ticket = OrderTicket();
   known[at].type = OrderType();
   known[at].lots = OrderLots();
   known[at].open_price = OrderOpenPrice();
   known[at].stop_loss = OrderStopLoss();
   known[at].take_profit = OrderTakeProfit();
   known[at].expiration = (long)OrderExpiration();
   known[at].is_there = true;
  }

// What is not there any more was closed or deleted, or went on under another ticket.
void OrderWatch::Removed()
  {
   int kept = 0;
   for(int i = 0; i < known_count; i++)
     {
      if(known[i].is_there)
        {
         known[kept] = known[i];
         kept++;
         continue;
        }
      if(known[i].is_continued)
         continue;
      bool is_found = SelectTicket(known[i].ticket);
      bool was_pending = is_found ? IsPendingType(OrderType()) : IsPendingType(known[i].type);
      AddEvent(known[i].ticket, 0, was_pending ? "deleted" : "closed", is_found ? CloseReason() : "unknown");
     }
   known_count = kept;
  }

void OrderWatch::AddEvent(int ticket, int previous, string name, string reason)
  {
   if(event_count == ArraySize(events))
      ArrayResize(events, 2 * event_count + 16);
   events[event_count].ticket = ticket;
   events[event_count].previous_ticket = previous;
   events[event_count].name = name;
   events[event_count].reason = reason;
   event_count++;
  }

#endif
